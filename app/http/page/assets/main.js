/** The page: connects its parts. */
import { initAccess } from "./access.js";
import { canvasFrom, drawn, writesWebp } from "./canvas.js";
import { Cards } from "./cards.js";
import { applyPreset, cutOptions, useOwnColour, usePicture } from "./choices.js";
import { block, button, element, input, radios, select } from "./dom.js";
import { initDownload } from "./download.js";
import { initIntake } from "./intake.js";
import { initJobList } from "./joblist.js";
import { Jobs, MIN_FILES } from "./jobs.js";
import { countsOf, Picture, Queue } from "./pictures.js";
import { Failure, Service } from "./service.js";
import { TouchUp } from "./touchup.js";
import { Viewer } from "./viewer.js";
import { explain, progress, stateOf } from "./words.js";

/** @typedef {{models: {name: string, label: string}[], model: string, presets: Record<string, import("./choices.js").Preset>, urls: boolean, key: boolean, jobs: {files: number, bytes: number} | null}} Config */

/** @type {Config} */
const config = JSON.parse(block("config").textContent ?? "{}");
const service = new Service();
const queue = new Queue(service);
const jobs = config.jobs && new Jobs(service, queue, config.jobs);
const cards = new Cards(block("cards"));
const viewer = new Viewer(block("stage"), element("view", HTMLCanvasElement), block("wipe"));

/** @type {Picture | null} */
let current = null;
let summaryFrame = 0;
let noticeTimer = 0;
const NOTICE_MS = 8000;
/** @type {File | string | null} */
let previewed = null;
const download = initDownload({ service, queue, viewer, current: () => current, cutOf, notify, summarise });

// ---- pictures in ----

/** @param {(File | string)[]} sources */
function add(sources) {
	const pictures = sources.map((source) => new Picture(source, cutOptions()));
	if (jobs && pictures.length >= MIN_FILES) jobs.add(pictures);
	else for (const picture of pictures) queue.add(picture);
}

initIntake(add);

// ---- the list ----

queue.addEventListener("change", (event) => {
	const picture = /** @type {CustomEvent<Picture>} */ (event).detail;
	cards.update(picture);
	if (picture.state === "done" || picture.state === "failed") announce(picture);
	if (!current) open(picture);
	else if (picture === current) show(picture);
	summarise();
});
cards.addEventListener("open", (event) => open(/** @type {CustomEvent<Picture>} */ (event).detail));
cards.addEventListener("retry", (event) => queue.retry(/** @type {CustomEvent<Picture>} */ (event).detail));
cards.addEventListener("close", (event) => close(/** @type {CustomEvent<Picture>} */ (event).detail));

/** @param {Picture} picture */
function close(picture) {
	queue.drop(picture);
	cards.remove(picture);
	if (picture.job) jobs?.forget(picture.job);
	if (picture === current) {
		current = null;
		if (queue.pictures.length) open(queue.pictures[0]);
	}
	const empty = queue.pictures.length === 0;
	if (empty) {
		document.body.classList.remove("busy");
		block("studio").hidden = true;
	}
	summarise();
}

button("clear").addEventListener("click", () => {
	const all = queue.pictures.length;
	if (!confirm(`Remove all ${all} pictures from the list? Results that the server keeps of them are deleted.`)) return;
	for (const picture of [...queue.pictures].reverse()) close(picture); // the open one is usually the first
});

/** @param {Picture} picture */
function announce(picture) {
	if (picture.job) return; // too many: their job says how far it is
	const outcome = picture.state === "done" ? "done" : explainShort(picture);
	block("announcer").textContent = `${picture.name}: ${outcome}`;
}

/** @param {Picture} picture */
function explainShort(picture) {
	if (!picture.failure) return "";
	const { title, advice } = explain(picture.failure);
	return `${title}. ${advice}`;
}

/** Once per frame: a job changes hundreds of pictures at a time. */
function summarise() {
	cancelAnimationFrame(summaryFrame);
	summaryFrame = requestAnimationFrame(() => {
		const counts = countsOf(queue.pictures);
		block("summary").textContent = queue.pictures.length < 2 ? "" : progress(counts);
		button("clear").hidden = queue.pictures.length < 2;
		button("zip").disabled = !counts.done || download.packing;
	});
}

if (jobs) {
	initJobList(block("jobs"), jobs);
	jobs.addEventListener("change", (event) => {
		const { state, counts } = /** @type {CustomEvent<import("./job.js").Job>} */ (event).detail;
		if (state === "done" || state === "cancelled") block("announcer").textContent = progress(counts);
	});
	jobs.addEventListener("gone", () => notify("The server has deleted the results of your last visit.", true));
	jobs.restore();
}

// ---- one picture ----

/** @param {Picture} picture */
function open(picture) {
	current = picture;
	cards.mark(picture);
	document.body.classList.add("busy");
	block("studio").hidden = false;
	viewer.show(null);
	show(picture);
}

/** @param {Picture} picture */
async function show(picture) {
	const text = block("stage-text");
	const finished = picture.state === "done";
	text.hidden = finished;
	preview(finished ? null : picture.source);
	showAgain();
	setEnabled(finished);
	if (!finished) {
		text.textContent = picture.failure ? explainShort(picture) : `${picture.name}: ${stateOf(picture)}`;
		viewer.show(null);
		return;
	}
	const shown = await shownOf(picture).catch((/** @type {unknown} */ error) => error);
	if (picture !== current || picture.state !== "done") return;
	if (shown instanceof Error) {
		text.hidden = false;
		text.textContent = explain(shown instanceof Failure ? shown : new Failure("INTERNAL")).title;
		return;
	}
	viewer.show(/** @type {import("./viewer.js").Shown} */ (shown));
	showBrush();
	download.recompose();
}

/**
 * Show an original until its result is there; the text in front says how far it is.
 * @param {File | string | null} source one that the browser can't read is not shown
 */
function preview(source) {
	const image = element("preview", HTMLImageElement);
	if (source === previewed) return;
	previewed = source;
	URL.revokeObjectURL(image.src);
	image.hidden = true;
	image.onload = () => {
		image.hidden = source !== previewed;
	};
	if (source instanceof Blob) image.src = URL.createObjectURL(source);
}

/** What is shown of pictures opened last; canvases are large. @type {Map<Picture, {result: unknown, shown: Promise<import("./viewer.js").Shown>}>} */
const recent = new Map();
const MAX_RECENT = 3;

/**
 * @param {Picture} picture
 * @returns {Promise<import("./viewer.js").Shown>}
 */
function shownOf(picture) {
	const known = recent.get(picture);
	recent.delete(picture);
	const entry = known?.result === picture.result ? known : { result: picture.result, shown: load(picture) };
	entry.shown.catch(() => recent.delete(picture));
	recent.set(picture, entry);
	if (recent.size > MAX_RECENT) recent.delete(/** @type {Picture} */ (recent.keys().next().value));
	return entry.shown;
}

/** @param {Picture} picture */
async function load(picture) {
	const cut = await cutOf(picture);
	let original = null;
	if (picture.source instanceof Blob) {
		const bitmap = await createImageBitmap(picture.source).catch(() => null); // not every browser reads HEIC and TIFF
		if (bitmap) original = drawn(bitmap, cut.width, cut.height);
		bitmap?.close();
	}
	return { cut, original, touchUp: new TouchUp(cut, original) };
}

/** @param {Picture} picture */
async function cutOf(picture) {
	if (picture.edited) return picture.edited;
	if (!picture.result) throw new Error("The picture is not finished.");
	return await canvasFrom(await picture.result());
}

/** @param {Picture} picture */
function differs(picture) {
	return picture.source instanceof Blob && JSON.stringify(picture.options) !== JSON.stringify(cutOptions());
}

/** @param {boolean} enabled */
function setEnabled(enabled) {
	element("download", HTMLAnchorElement).setAttribute("aria-disabled", String(!enabled));
	button("copy").disabled = !enabled;
}

function showAgain() {
	button("again").hidden = current?.state !== "done" || !differs(current);
}
button("again").addEventListener("click", () => {
	if (current?.state !== "done") return;
	current.options = cutOptions();
	button("again").hidden = true;
	queue.retry(current);
});

// ---- view and brush ----

for (const radio of radios("tool"))
	radio.addEventListener("change", () => {
		viewer.use(/** @type {import("./viewer.js").Tool} */ (radio.value));
		showBrush();
	});
for (const id of ["brush-size", "brush-softness"]) input(id).addEventListener("input", showBrush);

function showBrush() {
	block("brush").hidden = viewer.tool === "compare";
	const touchUp = viewer.shown?.touchUp;
	if (!touchUp) return;
	const restore = /** @type {HTMLInputElement} */ ([...radios("tool")].at(-1));
	restore.disabled = !touchUp.original; // of an address, or in a format that the browser can't read
	touchUp.size = Number(input("brush-size").value) * Math.max(1, touchUp.cut.width / 1000);
	touchUp.softness = Number(input("brush-softness").value) / 100;
	button("undo").disabled = touchUp.done.length === 0;
	button("redo").disabled = touchUp.undone.length === 0;
	viewer.draw();
}

viewer.addEventListener("edit", edited);
button("undo").addEventListener("click", () => step("undo"));
button("redo").addEventListener("click", () => step("redo"));
addEventListener("keydown", (event) => {
	if (!(event.ctrlKey || event.metaKey) || viewer.tool === "compare") return;
	const key = event.key.toLowerCase();
	if (key !== "z" && key !== "y") return;
	event.preventDefault();
	step(key === "y" || event.shiftKey ? "redo" : "undo");
});

/** @param {"undo" | "redo"} way */
function step(way) {
	viewer.shown?.touchUp[way]();
	edited();
}

function edited() {
	if (!current || !viewer.shown) return;
	current.edited = viewer.shown.touchUp.done.length ? viewer.shown.cut : null;
	cards.thumbnail(current, viewer.shown.cut);
	showBrush();
	download.recompose();
}

button("zoom-in").addEventListener("click", () => viewer.zoom(1.25));
button("zoom-out").addEventListener("click", () => viewer.zoom(0.8));
button("zoom-fit").addEventListener("click", () => viewer.fit());
viewer.addEventListener("zoom", () => {
	element("zoom-level", HTMLOutputElement).value = `${Math.round(viewer.scale * 100)} %`;
});

// ---- choices ----

block("panel").addEventListener("submit", (event) => event.preventDefault());
block("panel").addEventListener("input", (event) => {
	const changed = /** @type {HTMLElement} */ (event.target);
	if (changed.id === "backdrop") return;
	if (changed.id === "colour") useOwnColour();
	if (changed.id === "preset") applyPreset(config.presets[select("preset").value] ?? {});
	showAgain();
	if (["model", "refine", "size"].includes(changed.id)) return;
	if (/** @type {HTMLInputElement} */ (changed).name === "background") usePicture(null);
	element("quality-value", HTMLOutputElement).value = input("quality").value;
	download.recompose();
});
input("colour").addEventListener("click", () => {
	useOwnColour(); // also where the colour is not changed then
	download.recompose();
});
input("backdrop").addEventListener("change", async () => {
	const file = input("backdrop").files?.[0];
	input("backdrop").value = "";
	const bitmap = file && (await createImageBitmap(file).catch(() => null));
	if (!bitmap) return notify("The browser can't read that picture.", true);
	usePicture(bitmap);
	download.recompose();
});

// ---- notices ----

/**
 * @param {string} message
 * @param {boolean} [passing] it is taken away after some seconds
 */
function notify(message, passing = false) {
	block("notice").hidden = !message;
	block("notice").textContent = message;
	clearTimeout(noticeTimer);
	if (passing) noticeTimer = setTimeout(() => notify(""), NOTICE_MS);
}

addEventListener("offline", () => notify("You are offline. Pictures are sent when the connection is back."));
addEventListener("online", () => notify(""));
addEventListener("beforeunload", (event) => {
	if (queue.active || jobs?.uploading || queue.pictures.some((picture) => picture.edited)) event.preventDefault();
});

// ---- start ----

function start() {
	initAccess(service, queue, config.key);
	block("address").hidden = !config.urls;
	for (const { name, label } of config.models)
		select("model").add(new Option(label, name, name === config.model, name === config.model));
	block("model-row").hidden = config.models.length < 2;
	for (const name of Object.keys(config.presets)) select("preset").add(new Option(name, name));
	if (!writesWebp()) [...select("format").options].find(({ value }) => value === "webp")?.remove();
	for (const span of document.querySelectorAll("[data-colour]")) {
		const swatch = /** @type {HTMLElement} */ (span);
		swatch.style.backgroundColor = swatch.dataset.colour ?? "";
	}
	viewer.use("compare");
}
start();
