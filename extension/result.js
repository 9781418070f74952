/** Result tab: reads the picture, sends it, and shows the result beside the original. */
import { keep, workOf } from "./handover.js";
import { openInPage } from "./page.js";
import { dataUri, HostNotAllowed, readImage, stemOf } from "./picture.js";
import { removeBackground } from "./server.js";
import { hostOf, loadSettings } from "./settings.js";
import { canvasFrom, drawn, encoded } from "./shared/canvas.js";
import { block, button, element } from "./shared/dom.js";
import { Failure } from "./shared/service.js";
import { TouchUp } from "./shared/touchup.js";
import { Viewer } from "./shared/viewer.js";
import { countdown, explain, weight } from "./shared/words.js";

/** @typedef {import("./handover.js").Source} Source */

const EXTENSIONS = new Map([
	["image/png", "png"],
	["image/webp", "webp"],
	["image/jpeg", "jpg"],
]);

/** @type {import("./shared/canvas.js").Output} */
const PNG = {
	format: "png",
	quality: 100,
	crop: false,
	margin: "",
	maxWidth: 0,
	maxHeight: 0,
	canvas: null,
	scale: 1,
};

const viewer = new Viewer(block("stage"), element("view", HTMLCanvasElement), block("wipe"));
const id = location.hash.slice(1);
const work = await workOf(id);
const source = work?.source;
/** Data URI, "" until the picture is read. */
let picture = work?.picture ?? "";
let { server } = await loadSettings();
let timer = 0;
/** What the button "Allow access" asks for. @type {chrome.permissions.Permissions} */
let wanted = {};
/** The user has answered for the server: a refusal leaves CORS. */
let asked = false;

/**
 * @param {string} title
 * @param {string} [advice]
 * @param {"allow" | "retry"} [action]
 */
function say(title, advice = "", action) {
	block("studio").hidden = true;
	block("message").hidden = false;
	block("title").textContent = title;
	block("advice").textContent = advice;
	block("wait").textContent = "";
	element("progress", HTMLProgressElement).hidden = true;
	button("allow").hidden = action !== "allow";
	button("retry").hidden = action !== "retry";
}

/**
 * Show how far the work is.
 * @param {string} title
 * @param {number} [share] 0 to 1; unknown if omitted
 */
function working(title, share) {
	if (block("title").textContent !== title || block("message").hidden) say(title); // not announced again
	const progress = element("progress", HTMLProgressElement);
	progress.hidden = false;
	if (share === undefined) progress.removeAttribute("value");
	else progress.value = share;
}

/** @param {Source} from */
async function run(from) {
	clearTimeout(timer);
	try {
		if (!picture) working("Reading the picture…");
		picture ||= from instanceof File ? await dataUri(from) : await readImage(from);
		await send(from);
	} catch (error) {
		if (error instanceof HostNotAllowed) askFor(error.address, "The picture is on another server");
		else if (error instanceof Failure) fail(from, error);
		else say("The picture can't be read", error instanceof Error ? error.message : "", "retry");
	}
}

/**
 * @param {string} address
 * @param {string} title
 */
function askFor(address, title) {
	wanted = hostOf(address);
	say(title, `The extension needs your permission to use ${new URL(address).host}.`, "allow");
}

/** @param {Source} from */
async function send(from) {
	const settings = await loadSettings();
	server = settings.server;
	if (!asked && !(await chrome.permissions.contains(hostOf(server)))) {
		askFor(server, "The server is not allowed yet");
		return;
	}
	working("Uploading…", 0);
	const result = await removeBackground(settings, picture, (share) => {
		if (share < 1) working("Uploading…", share);
		else working("Removing the background…");
	});
	await keep(id, { source: from, picture, result });
	await show(result, stemOf(from));
}

/**
 * @param {Source} from
 * @param {Failure} failure
 */
function fail(from, failure) {
	const { title, advice } = explain(failure);
	const where = failure.code === "UNREACHABLE" ? ` Server: ${server}; “Options” has a test.` : "";
	say(title, advice + where, "retry");
	if (failure.retryAfter === null) return;
	count(from, Date.now() + failure.retryAfter * 1000);
}

/**
 * @param {Source} from
 * @param {number} end
 */
function count(from, end) {
	const left = (end - Date.now()) / 1000;
	if (left <= 0) {
		run(from);
		return;
	}
	block("wait").textContent = `Again in ${countdown(left)}`;
	timer = setTimeout(() => count(from, end), 1000);
}

/**
 * @param {Blob} result
 * @param {string} stem
 */
async function show(result, stem) {
	const cut = await canvasFrom(result);
	const bitmap = await createImageBitmap(await blobOf(picture)).catch(() => null); // not every browser reads HEIC and TIFF
	const comparable = bitmap && sameShape(bitmap, cut);
	const original = bitmap && comparable ? drawn(bitmap, cut.width, cut.height) : null;
	bitmap?.close();
	block("message").hidden = true;
	block("studio").hidden = false;
	viewer.show({ cut, original, touchUp: new TouchUp(cut, original) });
	viewer.use("compare");
	block("weight").textContent = `${cut.width} × ${cut.height} px, ${weight(result.size)}`;
	const link = element("download", HTMLAnchorElement);
	link.href = URL.createObjectURL(result);
	link.download = `${stem}.${EXTENSIONS.get(result.type) ?? "png"}`;
	document.title = `${link.download} – Background Remover`;
}

/**
 * Return whether the result shows the whole original: presets may crop it.
 * @param {ImageBitmap} original
 * @param {HTMLCanvasElement} cut
 */
function sameShape(original, cut) {
	return Math.abs(original.width / original.height - cut.width / cut.height) < 0.02;
}

/** @param {string} uri */
async function blobOf(uri) {
	return await (await fetch(uri)).blob();
}

button("allow").addEventListener("click", async () => {
	const permission = wanted;
	const allowed = await chrome.permissions.request(permission);
	if (!source) return;
	const isServer = permission.origins?.[0] === hostOf(server).origins?.[0];
	if (isServer && (picture || allowed)) asked = true;
	else if (!allowed) return;
	await run(source);
	if (!isServer && allowed) await chrome.permissions.remove(permission);
});
button("retry").addEventListener("click", () => source && run(source));
button("copy").addEventListener("click", async () => {
	const cut = viewer.shown?.cut;
	if (!cut) return;
	try {
		const png = encoded(cut, PNG);
		await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
		block("notice").textContent = "Copied.";
	} catch {
		block("notice").textContent = "The browser did not allow copying. Download the picture instead.";
	}
});
button("open").addEventListener("click", async () => {
	const stem = source ? stemOf(source) : "picture";
	const opened = await openInPage(server, picture, stem);
	if (!opened) block("notice").textContent = "The server's page can't be used: it is off, or access was not allowed.";
});
button("zoom-in").addEventListener("click", () => viewer.zoom(1.25));
button("zoom-out").addEventListener("click", () => viewer.zoom(0.8));
button("zoom-fit").addEventListener("click", () => viewer.fit());

if (!source) say("The picture is gone", "Right-click it again, or drop it on the extension's button in the toolbar.");
else if (work.result) await show(work.result, stemOf(source));
else await run(source);
