/** Touch-up brush: erases and restores on the full-size cut-out, with undo. */
import { canvasOf, context } from "./canvas.js";

/** @typedef {{left: number, top: number, before: ImageData, after: ImageData}} Stroke */
/** @typedef {{x: number, y: number}} Point */

/** Pixels of all kept strokes, before and after together: 256 MB. */
const MAX_KEPT_PIXELS = 64e6;

export class TouchUp {
	/**
	 * @param {HTMLCanvasElement} cut
	 * @param {HTMLCanvasElement | null} original of the same size; without it nothing can be restored
	 */
	constructor(cut, original) {
		this.cut = cut;
		this.original = original;
		this.size = 40;
		/** 0: hard edge, 1: soft from the centre. */
		this.softness = 0.4;
		/** @type {Stroke[]} */
		this.done = [];
		/** @type {Stroke[]} */
		this.undone = [];
		/** @type {{copy: HTMLCanvasElement, last: Point, left: number, top: number, right: number, bottom: number, restores: boolean} | null} */
		this.stroke = null;
	}

	/**
	 * @param {Point} at in pixels of the cut-out
	 * @param {boolean} restores
	 */
	begin(at, restores) {
		if (restores && !this.original) return;
		const copy = canvasOf(this.cut.width, this.cut.height);
		context(copy).drawImage(this.cut, 0, 0);
		this.stroke = { copy, last: at, left: at.x, top: at.y, right: at.x, bottom: at.y, restores };
		this.#stamp(at);
	}

	/** @param {Point} to */
	move(to) {
		const stroke = this.stroke;
		if (!stroke) return;
		const step = Math.max(1, this.size / 8);
		const length = Math.hypot(to.x - stroke.last.x, to.y - stroke.last.y);
		for (let way = step; way <= length; way += step)
			this.#stamp({
				x: stroke.last.x + ((to.x - stroke.last.x) * way) / length,
				y: stroke.last.y + ((to.y - stroke.last.y) * way) / length,
			});
		if (length >= step) stroke.last = to;
	}

	end() {
		const stroke = this.stroke;
		this.stroke = null;
		if (!stroke) return;
		const reach = this.size / 2 + 1;
		const left = Math.max(0, Math.floor(stroke.left - reach));
		const top = Math.max(0, Math.floor(stroke.top - reach));
		const width = Math.min(this.cut.width, Math.ceil(stroke.right + reach)) - left;
		const height = Math.min(this.cut.height, Math.ceil(stroke.bottom + reach)) - top;
		if (width <= 0 || height <= 0) return;
		this.done.push({
			left,
			top,
			before: context(stroke.copy).getImageData(left, top, width, height),
			after: context(this.cut).getImageData(left, top, width, height),
		});
		this.undone = [];
		let kept = this.done.reduce((sum, { before }) => sum + before.width * before.height, 0);
		while (kept > MAX_KEPT_PIXELS / 2 && this.done.length > 1) {
			const oldest = /** @type {Stroke} */ (this.done.shift());
			kept -= oldest.before.width * oldest.before.height;
		}
	}

	undo() {
		const stroke = this.done.pop();
		if (!stroke) return;
		context(this.cut).putImageData(stroke.before, stroke.left, stroke.top);
		this.undone.push(stroke);
	}

	redo() {
		const stroke = this.undone.pop();
		if (!stroke) return;
		context(this.cut).putImageData(stroke.after, stroke.left, stroke.top);
		this.done.push(stroke);
	}

	/** @param {Point} at */
	#stamp(at) {
		const stroke = this.stroke;
		if (!stroke) return;
		stroke.left = Math.min(stroke.left, at.x);
		stroke.top = Math.min(stroke.top, at.y);
		stroke.right = Math.max(stroke.right, at.x);
		stroke.bottom = Math.max(stroke.bottom, at.y);
		const target = context(this.cut);
		target.save();
		if (stroke.restores)
			target.drawImage(this.#restoredSpot(at), Math.floor(at.x - this.size / 2), Math.floor(at.y - this.size / 2));
		else {
			target.globalCompositeOperation = "destination-out";
			this.#dab(target, at.x, at.y);
		}
		target.restore();
	}

	/**
	 * Return the original below the brush, transparent outside it.
	 * @param {Point} at
	 */
	#restoredSpot(at) {
		const spot = canvasOf(Math.ceil(this.size) + 2, Math.ceil(this.size) + 2);
		const left = Math.floor(at.x - this.size / 2);
		const top = Math.floor(at.y - this.size / 2);
		const target = context(spot);
		this.#dab(target, at.x - left, at.y - top);
		target.globalCompositeOperation = "source-in";
		if (this.original) target.drawImage(this.original, -left, -top);
		return spot;
	}

	/**
	 * @param {CanvasRenderingContext2D} target
	 * @param {number} x
	 * @param {number} y
	 */
	#dab(target, x, y) {
		const radius = Math.max(0.5, this.size / 2);
		const gradient = target.createRadialGradient(x, y, radius * (1 - this.softness) * 0.98, x, y, radius);
		gradient.addColorStop(0, "rgba(0,0,0,1)");
		gradient.addColorStop(1, "rgba(0,0,0,0)");
		target.fillStyle = gradient;
		target.beginPath();
		target.arc(x, y, radius, 0, 2 * Math.PI);
		target.fill();
	}
}
