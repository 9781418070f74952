/** Choices of the panel: what is behind the subject, and how the picture is downloaded. */
import { block, input, radios, select } from "./dom.js";

/** Parameters of the API, as text. @typedef {Record<string, string>} Preset */

/** Bounds and canvas of the chosen preset. @type {Preset} */
let preset = {};
/** @type {ImageBitmap | null} */
let ownBackdrop = null;

/** @returns {import("./service.js").CutOptions} */
export function cutOptions() {
	return { model: select("model").value, refine: select("refine").value, size: select("size").value };
}

/** @returns {import("./canvas.js").Output} */
export function output() {
	const size = /^(\d+)x(\d+)$/i.exec(preset.canvas ?? "");
	return {
		format: /** @type {"png" | "webp" | "jpeg"} */ (select("format").value),
		quality: Number(input("quality").value),
		crop: input("crop").checked,
		margin: preset.crop_margin ?? "",
		maxWidth: Number(preset.max_width ?? 0),
		maxHeight: Number(preset.max_height ?? 0),
		canvas: size ? [Number(size[1]), Number(size[2])] : null,
		scale: (Number.parseFloat(preset.scale ?? "") || 100) / 100,
	};
}

/** @returns {import("./canvas.js").Backdrop} */
export function backdrop() {
	const chosen = [...radios("background")].find((radio) => radio.checked);
	if (ownBackdrop) return { colour: "", picture: ownBackdrop };
	return { colour: chosen ? chosen.value : input("colour").value, picture: null };
}

/**
 * Put a picture, or for null the chosen colour, behind the subject.
 * @param {ImageBitmap | null} picture
 */
export function usePicture(picture) {
	ownBackdrop = picture;
	block("swatches").toggleAttribute("data-picture", picture !== null);
	if (picture) uncheckSwatches();
}

export function useOwnColour() {
	usePicture(null);
	uncheckSwatches();
}

function uncheckSwatches() {
	for (const radio of radios("background")) radio.checked = false;
}

/** @param {Preset} chosen */
export function applyPreset(chosen) {
	preset = chosen;
	const format = (chosen.format ?? "").toLowerCase().replace("jpg", "jpeg");
	const option = [...select("format").options].find(({ value }) => value === format);
	if (option) select("format").value = format;
	if (chosen.quality) input("quality").value = chosen.quality;
	input("crop").checked = chosen.crop === "true";
	if (chosen.full_size === "true") select("size").value = "full";
	if (chosen.background) setBackground(chosen.background);
}

/** @param {string} colour of CSS */
function setBackground(colour) {
	const probe = document.createElement("canvas").getContext("2d");
	if (!probe) return;
	probe.fillStyle = colour;
	const hex = String(probe.fillStyle);
	useOwnColour();
	const swatch = [...radios("background")].find((radio) => radio.value === hex);
	if (swatch) swatch.checked = true;
	else input("colour").value = hex;
}
