/** The page: connects its parts. */
import { initAccess } from "./access.js";
import { canvasFrom, composed, cropBox, drawn, encoded, subjectBox, writesWebp } from "./canvas.js";
import { Cards } from "./cards.js";
import { applyPreset, backdrop, output, uncheckSwatches, usePicture } from "./choices.js";
import { block, button, element, input, radios, select } from "./dom.js";
import { initIntake } from "./intake.js";
import { Picture, Queue } from "./pictures.js";
import { Service } from "./service.js";
import { TouchUp } from "./touchup.js";
import { Viewer } from "./viewer.js";
import { explain, weight } from "./words.js";
import { distinct, zipped } from "./zip.js";

/** @typedef {{models: {name: string, label: string}[], model: string, presets: Record<string, import("./choices.js").Preset>, urls: boolean, key: boolean}} Config */

/** Time that a canvas from another picture is awaited before its size is computed, ms. */
const SETTLE_MS = 250;

/** @type {Config} */
const config = JSON.parse(block("config").textContent ?? "{}");
const service = new Service();
const queue = new Queue(service);
const cards = new Cards(block("cards"));
const viewer = new Viewer(block("stage"), element("view", HTMLCanvasElement), block("wipe"));

/** @type {Picture | null} */
let current = null;
let settle = 0;
let downloadUrl = "";

// ---- pictures in ----

/** @param {File | string} source */
function add(source) {
	const picture = new Picture(source, { model: select("model").value || config.model, refine: select("refine").value });
	document.body.classList.add("busy");
	queue.add(picture);
	if (!current) open(picture);
}

initIntake(add);

// ---- the list ----

queue.addEventListener("change", (event) => {
	const picture = /** @type {CustomEvent<Picture>} */ (event).detail;
	cards.update(picture);
	if (picture.state === "uploading" && picture.uploaded === 0 && picture.source instanceof Blob)
		cards.thumbnail(picture, picture.source);
	if (picture.state === "done" || picture.state === "failed") announce(picture);
	if (picture === current) show(picture);
	summarise();
});
cards.addEventListener("open", (event) => open(/** @type {CustomEvent<Picture>} */ (event).detail));
cards.addEventListener("retry", (event) => queue.retry(/** @type {CustomEvent<Picture>} */ (event).detail));
cards.addEventListener("close", (event) => close(/** @type {CustomEvent<Picture>} */ (event).detail));

/** @param {Picture} picture */
function close(picture) {
	queue.drop(picture);
	cards.remove(picture);
	if (picture === current) {
		current = null;
		if (queue.pictures.length) open(queue.pictures[0]);
	}
	const empty = queue.pictures.length === 0;
	document.body.classList.toggle("busy", !empty);
	block("studio").hidden = empty;
	summarise();
}

/** @param {Picture} picture */
function announce(picture) {
	const outcome = picture.state === "done" ? "done" : explainShort(picture);
	block("announcer").textContent = `${picture.name}: ${outcome}`;
}

/** @param {Picture} picture */
function explainShort(picture) {
	if (!picture.failure) return "";
	const { title, advice } = explain(picture.failure);
	return `${title}. ${advice}`;
}

function summarise() {
	const all = queue.pictures.length;
	const done = queue.pictures.filter((picture) => picture.state === "done").length;
	const failed = queue.pictures.filter((picture) => picture.state === "failed").length;
	block("summary").textContent = all < 2 ? "" : `${done} of ${all} done${failed ? `, ${failed} failed` : ""}`;
	button("zip").disabled = done === 0;
}

// ---- one picture ----

/** @param {Picture} picture */
function open(picture) {
	current = picture;
	cards.mark(picture);
	block("studio").hidden = false;
	viewer.show(null);
	show(picture);
}

/** @param {Picture} picture */
async function show(picture) {
	const text = block("stage-text");
	const finished = picture.state === "done" && picture.answer !== null;
	text.hidden = finished;
	button("again").hidden = !finished || !differs(picture);
	setEnabled(finished);
	if (!finished) {
		text.textContent = picture.failure
			? explainShort(picture)
			: `${picture.name}: ${picture.state === "working" ? "cutting out…" : picture.state}`;
		viewer.show(null);
		return;
	}
	const shown = await shownOf(picture);
	if (picture !== current || picture.state !== "done") return;
	viewer.show(shown);
	showBrush();
	recompose();
}

/** What is shown of pictures opened last; canvases are large. @type {Map<Picture, {answer: unknown, shown: Promise<import("./viewer.js").Shown>}>} */
const recent = new Map();
const MAX_RECENT = 3;

/**
 * @param {Picture} picture
 * @returns {Promise<import("./viewer.js").Shown>}
 */
function shownOf(picture) {
	const known = recent.get(picture);
	recent.delete(picture);
	const entry = known?.answer === picture.answer ? known : { answer: picture.answer, shown: load(picture) };
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
	if (!picture.answer) throw new Error("The picture is not finished.");
	return await canvasFrom(picture.answer.blob);
}

/** @param {Picture} picture */
function differs(picture) {
	return (
		picture.source instanceof Blob &&
		(picture.options.model !== select("model").value || picture.options.refine !== select("refine").value)
	);
}

/** @param {boolean} enabled */
function setEnabled(enabled) {
	element("download", HTMLAnchorElement).setAttribute("aria-disabled", String(!enabled));
	button("copy").disabled = !enabled;
}

for (const id of ["model", "refine"])
	select(id).addEventListener("change", () => {
		if (current) button("again").hidden = current.state !== "done" || !differs(current);
	});
button("again").addEventListener("click", () => {
	if (current?.state !== "done") return;
	current.options = { model: select("model").value, refine: select("refine").value };
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
	recompose();
}

button("zoom-in").addEventListener("click", () => viewer.zoom(1.25));
button("zoom-out").addEventListener("click", () => viewer.zoom(0.8));
button("zoom-fit").addEventListener("click", () => viewer.fit());
viewer.addEventListener("zoom", () => {
	element("zoom-level", HTMLOutputElement).value = `${Math.round(viewer.scale * 100)} %`;
});

// ---- what is downloaded ----

/**
 * Return the file to download; the service's own answer where nothing was changed.
 * @param {Picture} picture
 */
async function finished(picture) {
	const wanted = output();
	const behind = backdrop();
	const untouched =
		!picture.edited &&
		wanted.format === "png" &&
		!wanted.crop &&
		!wanted.canvas &&
		!wanted.maxWidth &&
		!wanted.maxHeight;
	if (untouched && !behind.colour && !behind.picture && picture.answer)
		return { blob: picture.answer.blob, size: null };
	const cut = picture === current && viewer.shown ? viewer.shown.cut : await cutOf(picture);
	const canvas = composed(cut, behind, wanted);
	return { blob: await encoded(canvas, wanted), size: canvas };
}

/** @param {Picture} picture */
function fileName(picture) {
	return `${picture.stem}.${{ png: "png", webp: "webp", jpeg: "jpg" }[output().format]}`;
}

function recompose() {
	const wanted = output();
	block("quality-row").hidden = wanted.format === "png";
	viewer.backdrop = wanted.format === "jpeg" && !backdrop().colour ? { ...backdrop(), colour: "#ffffff" } : backdrop();
	const cut = viewer.shown?.cut;
	const box = cut && wanted.crop && !wanted.canvas ? subjectBox(cut) : null;
	viewer.frame = box && cut ? cropBox(box, wanted.margin, cut) : null;
	viewer.draw();
	clearTimeout(settle);
	settle = setTimeout(prepareDownload, SETTLE_MS);
}

async function prepareDownload() {
	const picture = current;
	if (picture?.state !== "done" || !viewer.shown) return;
	const { blob, size } = await finished(picture);
	if (picture !== current) return;
	const { width, height } = size ?? viewer.shown.cut;
	block("weight").textContent = `${width} × ${height} px, ${weight(blob.size)}`;
	URL.revokeObjectURL(downloadUrl);
	downloadUrl = URL.createObjectURL(blob);
	const link = element("download", HTMLAnchorElement);
	link.href = downloadUrl;
	link.download = fileName(picture);
}

const link = element("download", HTMLAnchorElement);
link.addEventListener("click", async (event) => {
	event.preventDefault();
	if (current?.state === "done") save((await finished(current)).blob, fileName(current));
});
link.addEventListener("keydown", (event) => {
	if (event.key !== " ") return;
	event.preventDefault();
	link.click();
});
link.addEventListener("dragstart", (event) => {
	if (current?.state !== "done") return event.preventDefault();
	event.dataTransfer?.setData("DownloadURL", `image/${output().format}:${fileName(current)}:${downloadUrl}`);
});

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
	const url = URL.createObjectURL(blob);
	const anchor = document.createElement("a");
	anchor.href = url;
	anchor.download = name;
	anchor.click();
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

button("copy").addEventListener("click", async () => {
	if (current?.state !== "done") return;
	const picture = current;
	const canvas = composed(await cutOf(picture), backdrop(), { ...output(), format: "png" });
	try {
		await navigator.clipboard.write([
			new ClipboardItem({ "image/png": encoded(canvas, { ...output(), format: "png" }) }),
		]);
		notify("Copied.");
	} catch {
		notify("The browser did not allow copying. Download the picture instead.");
	}
});

button("zip").addEventListener("click", async () => {
	button("zip").disabled = true;
	const done = queue.pictures.filter((picture) => picture.state === "done");
	const names = distinct(done.map(fileName));
	const files = [];
	for (const [index, picture] of done.entries()) {
		notify(`Packing ${index + 1} of ${done.length}…`);
		files.push({ name: names[index], blob: (await finished(picture)).blob });
	}
	save(await zipped(files), "cut-outs.zip");
	notify("");
	summarise();
});

// ---- choices ----

block("panel").addEventListener("submit", (event) => event.preventDefault());
block("panel").addEventListener("input", (event) => {
	const changed = /** @type {HTMLElement} */ (event.target);
	if (changed.id === "backdrop" || changed.id === "model" || changed.id === "refine") return;
	if (changed.id === "colour") uncheckSwatches();
	if (changed.id === "preset") applyPreset(config.presets[select("preset").value] ?? {});
	if (/** @type {HTMLInputElement} */ (changed).name === "background" || changed.id === "colour") usePicture(null);
	element("quality-value", HTMLOutputElement).value = input("quality").value;
	recompose();
});
input("backdrop").addEventListener("change", async () => {
	const file = input("backdrop").files?.[0];
	input("backdrop").value = "";
	const bitmap = file && (await createImageBitmap(file).catch(() => null));
	if (!bitmap) return notify("The browser can't read that picture.");
	usePicture(bitmap);
	recompose();
});

// ---- notices ----

/** @param {string} message */
function notify(message) {
	block("notice").hidden = !message;
	block("notice").textContent = message;
}

addEventListener("offline", () => notify("You are offline. Pictures are sent when the connection is back."));
addEventListener("online", () => notify(""));
addEventListener("beforeunload", (event) => {
	if (queue.active || queue.pictures.some((picture) => picture.edited)) event.preventDefault();
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
