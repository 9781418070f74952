/** Settings of the extension, and its permission for the server. */

/** @typedef {{server: string, key: string, format: string, preset: string, background: string}} Settings */

/** @type {Settings} */
const DEFAULTS = { server: "http://localhost:5001", key: "", format: "PNG", preset: "", background: "" };

/** @returns {Promise<Settings>} */
export async function loadSettings() {
	return /** @type {Settings} */ (await chrome.storage.local.get(DEFAULTS));
}

/** @param {Settings} settings */
export async function saveSettings(settings) {
	await chrome.storage.local.set(settings);
}

/**
 * Return the address without its query and final slash; null if it is not an HTTP address.
 * @param {string} text
 */
export function serverAddress(text) {
	const typed = text.trim();
	try {
		const url = new URL(typed.includes("://") ? typed : `http://${typed}`);
		if (!/^https?:$/.test(url.protocol) || url.username || /[\s%]/.test(url.hostname)) return null;
		return url.origin + url.pathname.replace(/\/+$/, "");
	} catch {
		return null;
	}
}

/**
 * Return the permission for a host; without the port, which Firefox's patterns do not allow.
 * @param {string} address
 * @returns {chrome.permissions.Permissions}
 */
export function hostOf(address) {
	const { protocol, hostname } = new URL(address);
	return { origins: [`${protocol}//${hostname}/*`] };
}
