/** Options page. */
import { testConnection } from "./server.js";
import { hostOf, loadSettings, saveSettings, serverAddress } from "./settings.js";
import { block, button, element, input, select } from "./shared/dom.js";

/** @typedef {import("./settings.js").Settings} Settings */

/** Saved address, whose permission is given back when another one is saved. */
let saved = "";

/** @param {Settings} settings */
function show(settings) {
	saved = settings.server;
	input("server").value = settings.server;
	input("key").value = settings.key;
	select("format").value = settings.format;
	input("preset").value = settings.preset;
	input("coloured").checked = settings.background !== "";
	if (settings.background) input("colour").value = settings.background;
	showColour();
}

function showColour() {
	block("colour-row").hidden = !input("coloured").checked;
}

/**
 * Return what is in the form; null if the address is not one.
 * @returns {Settings | null}
 */
function typed() {
	const server = serverAddress(input("server").value);
	if (!server) return null;
	return {
		server,
		key: input("key").value.trim(),
		format: select("format").value,
		preset: input("preset").value.trim(),
		background: input("coloured").checked ? input("colour").value : "",
	};
}

/**
 * @param {string} kind
 * @param {string} text
 */
function report(kind, text) {
	block("finding").hidden = false;
	block("finding").dataset.kind = kind;
	block("finding").textContent = text;
}

/**
 * Save, and ask for access to the server: browsers accept this only as the first step after a click.
 * @returns {Promise<Settings | null>}
 */
async function save() {
	const settings = typed();
	if (!settings) {
		report("address", "This is not the address of a server. Example: http://localhost:5001");
		return null;
	}
	const allowed = await chrome.permissions.request(hostOf(settings.server));
	await saveSettings(settings);
	await giveBack(settings.server);
	show(settings);
	if (allowed) report("saved", "Saved.");
	else
		report(
			"cors",
			"Saved, but access to the server was refused: it works only if CORS_ORIGINS of the server allows it.",
		);
	return settings;
}

/** @param {string} server the new address */
async function giveBack(server) {
	const [before, now] = [hostOf(saved), hostOf(server)];
	if (before.origins?.[0] !== now.origins?.[0]) await chrome.permissions.remove(before).catch(() => false);
}

element("form", HTMLFormElement).addEventListener("submit", (event) => {
	event.preventDefault();
	save();
});
button("test").addEventListener("click", async () => {
	const settings = await save();
	if (!settings) return;
	report("running", "Testing…");
	const { kind, text } = await testConnection(settings);
	report(kind, text);
});
input("coloured").addEventListener("change", showColour);
show(await loadSettings());
