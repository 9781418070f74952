/** Pictures from pages: read in the page's context, with its cookies. */
import { hostOf } from "./settings.js";

/** @typedef {import("./handover.js").PageImage} PageImage */

/** Image of a host that neither the page nor the extension may read. */
export class HostNotAllowed extends Error {
	/** @param {string} address */
	constructor(address) {
		super(`no access to ${address}`);
		this.address = address;
	}
}

/**
 * Return an image as a data URI; raise HostNotAllowed if only a permission helps.
 * @param {PageImage} image
 * @returns {Promise<string>}
 */
export async function readImage(image) {
	const inPage = await readInPage(image);
	if (inPage) return inPage;
	const isRemote = /^https?:/.test(image.address);
	if (!isRemote) throw new Error("The page does not give this image away.");
	if (!(await chrome.permissions.contains(hostOf(image.address)))) throw new HostNotAllowed(image.address);
	const answer = await fetch(image.address, { credentials: "include" });
	if (!answer.ok) throw new Error(`The image's server answers with status ${answer.status}.`);
	return await dataUri(await answer.blob());
}

/**
 * Return the image; "" if the page may not be read or has been left, or the image is of another host.
 * @param {PageImage} image
 */
async function readInPage({ address, tab, frame }) {
	try {
		const target = { tabId: tab, frameIds: [frame] };
		const [injection] = await chrome.scripting.executeScript({ target, func: readHere, args: [address] });
		return injection?.result ?? "";
	} catch {
		return "";
	}
}

/**
 * Runs in the page: self-contained.
 * @param {string} address
 * @returns {Promise<string>}
 */
async function readHere(address) {
	for (const credentials of /** @type {RequestCredentials[]} */ (["include", "same-origin"])) {
		const answer = await fetch(address, { credentials }).catch(() => null);
		if (!answer?.ok) continue;
		const blob = await answer.blob();
		return await new Promise((resolve) => {
			const reader = new FileReader();
			reader.onload = () => resolve(String(reader.result));
			reader.onerror = () => resolve("");
			reader.readAsDataURL(blob);
		});
	}
	return "";
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
export function dataUri(blob) {
	return new Promise((resolve, reject) => {
		const reader = new FileReader();
		reader.onload = () => resolve(String(reader.result));
		reader.onerror = () => reject(reader.error);
		reader.readAsDataURL(blob);
	});
}

/**
 * Return the name of a picture without folder and extension.
 * @param {import("./handover.js").Source} source
 */
export function stemOf(source) {
	const path =
		source instanceof File ? source.name : /^https?:/.test(source.address) ? new URL(source.address).pathname : "";
	const name = path.split("/").pop() ?? "";
	return name.replace(/\.\w+$/, "").replace(/[^\p{L}\p{N}._ -]+/gu, "_") || "picture";
}
