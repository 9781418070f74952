/** Context menu: opens a result tab for the image that was clicked. Pictures are deleted when their tab is closed. */
import { forget, forgetAll, openResult } from "./handover.js";

const MENU = "remove-background";

chrome.runtime.onInstalled.addListener(({ reason }) => {
	chrome.contextMenus.create({ id: MENU, title: "Remove background", contexts: ["image"] });
	if (reason === "install") chrome.runtime.openOptionsPage();
});
chrome.contextMenus.onClicked.addListener(removeBackground);
chrome.tabs.onRemoved.addListener(forget);
chrome.runtime.onStartup.addListener(forgetAll); // after a crash

/**
 * The result tab reads the image: unlike this worker, it lives until the work is done.
 * @param {chrome.contextMenus.OnClickData} info
 * @param {chrome.tabs.Tab} [tab]
 */
async function removeBackground(info, tab) {
	if (!info.srcUrl || tab?.id === undefined) return;
	await openResult({ address: info.srcUrl, tab: tab.id, frame: info.frameId ?? 0 });
}
