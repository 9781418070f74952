/** What is downloaded and copied: one picture, or all as a ZIP. */
import { composed, cropBox, encoded, subjectBox } from "./canvas.js";
import { backdrop, output } from "./choices.js";
import { block, button, element } from "./dom.js";
import { Failure } from "./service.js";
import { explain, weight } from "./words.js";
import { distinct, zipped } from "./zip.js";

/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {{service: import("./service.js").Service, queue: import("./pictures.js").Queue, viewer: import("./viewer.js").Viewer, current: () => Picture | null, cutOf: (picture: Picture) => Promise<HTMLCanvasElement>, notify: (message: string, passing?: boolean) => void, summarise: () => void}} Page */

/** Time that a canvas from another picture is awaited before its size is computed, ms. */
const SETTLE_MS = 250;

/** @param {Page} page */
export function initDownload({ service, queue, viewer, current, cutOf, notify, summarise }) {
	const link = element("download", HTMLAnchorElement);
	let settle = 0;
	let url = "";
	const download = { packing: false, recompose };

	/**
	 * Return the file to download; the service's own answer where nothing was changed.
	 * @param {Picture} picture
	 */
	async function finished(picture) {
		if (!picture.edited && isPlain() && picture.result) return { blob: await picture.result(), size: null };
		const cut = picture === current() && viewer.shown ? viewer.shown.cut : await cutOf(picture);
		const canvas = composed(cut, backdrop(), output());
		return { blob: await encoded(canvas, output()), size: canvas };
	}

	function recompose() {
		const wanted = output();
		block("quality-row").hidden = wanted.format === "png";
		viewer.backdrop =
			wanted.format === "jpeg" && !backdrop().colour ? { ...backdrop(), colour: "#ffffff" } : backdrop();
		const cut = viewer.shown?.cut;
		const box = cut && wanted.crop && !wanted.canvas ? subjectBox(cut) : null;
		viewer.frame = box && cut ? cropBox(box, wanted.margin, cut) : null;
		viewer.draw();
		clearTimeout(settle);
		settle = setTimeout(prepare, SETTLE_MS);
	}

	async function prepare() {
		const picture = current();
		if (picture?.state !== "done" || !viewer.shown) return;
		const { blob, size } = await finished(picture);
		if (picture !== current()) return;
		const { width, height } = size ?? viewer.shown.cut;
		block("weight").textContent = `${width} × ${height} px, ${weight(blob.size)}`;
		URL.revokeObjectURL(url);
		url = URL.createObjectURL(blob);
		link.href = url;
		link.download = fileName(picture);
	}

	link.addEventListener("click", async (event) => {
		event.preventDefault();
		const picture = current();
		if (picture?.state === "done") save((await finished(picture)).blob, fileName(picture));
	});
	link.addEventListener("keydown", (event) => {
		if (event.key !== " ") return;
		event.preventDefault();
		link.click();
	});
	link.addEventListener("dragstart", (event) => {
		const picture = current();
		if (picture?.state !== "done") return event.preventDefault();
		event.dataTransfer?.setData("DownloadURL", `image/${output().format}:${fileName(picture)}:${url}`);
	});

	button("copy").addEventListener("click", async () => {
		const picture = current();
		if (picture?.state !== "done") return;
		const png = { ...output(), format: /** @type {const} */ ("png") };
		try {
			const blob = cutOf(picture).then((cut) => encoded(composed(cut, backdrop(), png), png));
			await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
			notify("Copied.", true);
		} catch {
			notify("The browser did not allow copying. Download the picture instead.", true);
		}
	});

	button("zip").addEventListener("click", async () => {
		download.packing = true;
		button("zip").disabled = true;
		try {
			await saveAll(queue.pictures.filter(({ state }) => state === "done"));
			notify("");
		} catch (error) {
			const { title, advice } = explain(error instanceof Failure ? error : new Failure("INTERNAL"));
			notify(`${title}. ${advice}`, true);
		}
		download.packing = false;
		summarise();
	});

	/** @param {Picture[]} pictures */
	async function saveAll(pictures) {
		const job = isPlain() && jobOf(pictures);
		if (job && !service.key) return follow(job.results);
		if (job) {
			notify("Fetching the ZIP…");
			return save(await (await service.fetch(job.results)).blob(), "cut-outs.zip");
		}
		const names = distinct(pictures.map(fileName));
		const files = [];
		for (const [index, picture] of pictures.entries()) {
			notify(`Packing ${index + 1} of ${pictures.length}…`);
			files.push({ name: names[index], blob: (await finished(picture)).blob });
		}
		save(await zipped(files), "cut-outs.zip");
	}

	return download;
}

/** Return whether the service's answers are downloaded as they are. */
function isPlain() {
	const { format, crop, canvas, maxWidth, maxHeight } = output();
	const { colour, picture } = backdrop();
	return format === "png" && !crop && !canvas && !maxWidth && !maxHeight && !colour && !picture;
}

/**
 * Return the job whose ZIP has exactly these pictures.
 * @param {Picture[]} pictures
 */
function jobOf(pictures) {
	const job = pictures[0].job;
	const results = job?.pictures.filter(({ state }) => state === "done").length;
	const isWhole = results === pictures.length && pictures.every((picture) => picture.job === job && !picture.edited);
	return job?.state === "done" && isWhole ? job : null;
}

/** @param {Picture} picture */
function fileName(picture) {
	return `${picture.stem}.${{ png: "png", webp: "webp", jpeg: "jpg" }[output().format]}`;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
	const url = URL.createObjectURL(blob);
	follow(url, name);
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * @param {string} url
 * @param {string} [name] that of the answer without it
 */
function follow(url, name = "") {
	const anchor = document.createElement("a");
	anchor.href = url;
	anchor.download = name;
	anchor.click();
}
