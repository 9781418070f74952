/** Pictures on canvases: decoding, boxes, and the composition that is downloaded. */

/** @typedef {{colour: string, picture: ImageBitmap | null}} Backdrop */
/** @typedef {{format: "png" | "webp" | "jpeg", quality: number, crop: boolean, margin: string, maxWidth: number, maxHeight: number, canvas: [number, number] | null, scale: number}} Output */
/** @typedef {import("./service.js").Box} Box */

/**
 * @param {number} width
 * @param {number} height
 */
export function canvasOf(width, height) {
	const canvas = document.createElement("canvas");
	canvas.width = Math.max(1, Math.round(width));
	canvas.height = Math.max(1, Math.round(height));
	return canvas;
}

/** @param {HTMLCanvasElement} canvas */
export function context(canvas) {
	const found = canvas.getContext("2d", { willReadFrequently: false });
	if (!found) throw new Error("The browser gives no 2D canvas.");
	found.imageSmoothingQuality = "high";
	return found;
}

/**
 * @param {CanvasImageSource} image
 * @param {number} width
 * @param {number} height
 */
export function drawn(image, width, height) {
	const canvas = canvasOf(width, height);
	context(canvas).drawImage(image, 0, 0, canvas.width, canvas.height);
	return canvas;
}

/** @param {Blob} blob */
export async function canvasFrom(blob) {
	const bitmap = await createImageBitmap(blob);
	const canvas = drawn(bitmap, bitmap.width, bitmap.height);
	bitmap.close();
	return canvas;
}

/**
 * Draw the picture so that it covers a rectangle, centred.
 * @param {CanvasRenderingContext2D} target
 * @param {ImageBitmap} picture
 * @param {Box} area
 */
export function cover(target, picture, area) {
	const scale = Math.max(area.width / picture.width, area.height / picture.height);
	const width = area.width / scale;
	const height = area.height / scale;
	target.drawImage(
		picture,
		(picture.width - width) / 2,
		(picture.height - height) / 2,
		width,
		height,
		area.left,
		area.top,
		area.width,
		area.height,
	);
}

/**
 * Return the box of what is visible; null if nothing is.
 * @param {HTMLCanvasElement} canvas
 * @returns {Box | null}
 */
export function subjectBox(canvas) {
	const { width, height } = canvas;
	const pixels = context(canvas).getImageData(0, 0, width, height).data;
	let left = width,
		right = -1,
		top = height,
		bottom = -1;
	for (let y = 0, at = 3; y < height; y++)
		for (let x = 0; x < width; x++, at += 4)
			if (pixels[at] > 12) {
				if (x < left) left = x;
				if (x > right) right = x;
				if (y < top) top = y;
				bottom = y;
			}
	return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/**
 * @param {Box} box
 * @param {string} margin one value in px or %
 * @param {HTMLCanvasElement} canvas
 * @returns {Box}
 */
export function cropBox(box, margin, canvas) {
	const value = Number.parseFloat(margin) || 0;
	const across = margin.includes("%") ? (box.width * value) / 100 : value;
	const down = margin.includes("%") ? (box.height * value) / 100 : value;
	const left = Math.max(0, Math.floor(box.left - across));
	const top = Math.max(0, Math.floor(box.top - down));
	return {
		left,
		top,
		width: Math.min(canvas.width, Math.ceil(box.left + box.width + across)) - left,
		height: Math.min(canvas.height, Math.ceil(box.top + box.height + down)) - top,
	};
}

/**
 * @param {HTMLCanvasElement} cut
 * @param {Backdrop} backdrop
 * @param {Output} output
 */
export function composed(cut, backdrop, output) {
	const whole = { left: 0, top: 0, width: cut.width, height: cut.height };
	const needsBox = output.crop || output.canvas !== null;
	const box = (needsBox && subjectBox(cut)) || whole;
	const from = output.canvas ? box : output.crop ? cropBox(box, output.margin, cut) : whole;
	const place = output.canvas ? placed(from, output.canvas, output.scale) : bounded(from, output);
	const canvas = canvasOf(place.canvasWidth, place.canvasHeight);
	const target = context(canvas);
	const colour = backdrop.colour || (output.format === "jpeg" ? "#ffffff" : "");
	if (colour) {
		target.fillStyle = colour;
		target.fillRect(0, 0, canvas.width, canvas.height);
	}
	if (backdrop.picture)
		cover(target, backdrop.picture, { left: 0, top: 0, width: canvas.width, height: canvas.height });
	target.drawImage(cut, from.left, from.top, from.width, from.height, place.left, place.top, place.width, place.height);
	return canvas;
}

/**
 * @param {Box} from
 * @param {[number, number]} size
 * @param {number} share of the canvas that the subject takes, 0 to 1
 */
function placed(from, [canvasWidth, canvasHeight], share) {
	const scale = Math.min((canvasWidth * share) / from.width, (canvasHeight * share) / from.height);
	const width = from.width * scale;
	const height = from.height * scale;
	return {
		canvasWidth,
		canvasHeight,
		width,
		height,
		left: (canvasWidth - width) / 2,
		top: (canvasHeight - height) / 2,
	};
}

/**
 * @param {Box} from
 * @param {Output} output
 */
function bounded(from, output) {
	const scale = Math.min(1, (output.maxWidth || Infinity) / from.width, (output.maxHeight || Infinity) / from.height);
	const width = Math.max(1, Math.round(from.width * scale));
	const height = Math.max(1, Math.round(from.height * scale));
	return { canvasWidth: width, canvasHeight: height, width, height, left: 0, top: 0 };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Output} output
 * @returns {Promise<Blob>}
 */
export function encoded(canvas, output) {
	return new Promise((resolve, reject) =>
		canvas.toBlob(
			(blob) => (blob ? resolve(blob) : reject(new Error("The browser could not write the picture."))),
			`image/${output.format}`,
			output.quality / 100,
		),
	);
}

/** Return whether this browser writes WebP. */
export function writesWebp() {
	return canvasOf(1, 1).toDataURL("image/webp").startsWith("data:image/webp");
}
