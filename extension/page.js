/** The server's web page, opened with a picture. */
import { hostOf } from "./settings.js";

/**
 * Open the page and drop the picture on it; return whether it was accepted. Firefox allows the question for access only
 * as the first step after a click.
 * @param {string} server
 * @param {string} picture data URI
 * @param {string} stem
 */
export async function openInPage(server, picture, stem) {
	if (!(await chrome.permissions.request(hostOf(server)).catch(() => false))) return false;
	const tab = await chrome.tabs.create({ url: `${server}/`, active: false });
	if (tab.id === undefined) return false;
	await loaded(tab.id);
	const results = await chrome.scripting
		.executeScript({ target: { tabId: tab.id }, world: "MAIN", func: drop, args: [picture, stem] })
		.catch(() => []);
	await chrome.tabs.update(tab.id, { active: true });
	return results[0]?.result === true;
}

/**
 * @param {number} id
 * @returns {Promise<void>}
 */
function loaded(id) {
	return new Promise((resolve) => {
		/**
		 * @param {number} changed
		 * @param {{status?: string}} change
		 */
		function listen(changed, change) {
			if (changed !== id || change.status !== "complete") return;
			chrome.tabs.onUpdated.removeListener(listen);
			resolve();
		}
		chrome.tabs.onUpdated.addListener(listen);
	});
}

/**
 * Runs in the page: self-contained, and without fetch, which the page's policy forbids for data URIs.
 * @param {string} picture
 * @param {string} stem
 */
function drop(picture, stem) {
	if (!document.getElementById("intake")) return false;
	const [head, encoded] = picture.split(",");
	const type = /^data:([^;]*)/.exec(head)?.[1] ?? "";
	const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
	const transfer = new DataTransfer();
	transfer.items.add(new File([bytes], `${stem}.${type.split("/")[1] ?? ""}`, { type }));
	dispatchEvent(new DragEvent("drop", { dataTransfer: transfer })); // Firefox has no clipboardData in made events
	return true;
}
