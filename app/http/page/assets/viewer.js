/** View of one picture: original and result side by side, zoom, pan, and the brush. */
import { cover } from "./canvas.js";

/** @typedef {import("./touchup.js").TouchUp} TouchUp */
/** @typedef {import("./canvas.js").Box} Box */
/** @typedef {"compare" | "erase" | "restore"} Tool */
/** @typedef {{cut: HTMLCanvasElement, original: HTMLCanvasElement | null, touchUp: TouchUp}} Shown */

const MAX_ZOOM = 16;
const CHECK = 10;
/** Pixels of the stage by which an arrow key moves the picture or the brush. */
const KEY_STEP = 16;
/** @type {Record<string, [number, number] | undefined>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Dispatches "edit" after each stroke, "zoom" after each change of scale. */
export class Viewer extends EventTarget {
	/**
	 * @param {HTMLElement} stage
	 * @param {HTMLCanvasElement} canvas
	 * @param {HTMLElement} wipe
	 */
	constructor(stage, canvas, wipe) {
		super();
		this.stage = stage;
		this.canvas = canvas;
		this.wipe = wipe;
		/** @type {Shown | null} */
		this.shown = null;
		/** @type {Tool} */
		this.tool = "compare";
		/** @type {import("./canvas.js").Backdrop} */
		this.backdrop = { colour: "", picture: null };
		/** Box that would be downloaded; null: all. @type {Box | null} */
		this.frame = null;
		this.wipeShare = 0.5;
		this.scale = 1;
		this.x = 0;
		this.y = 0;
		this.fitted = true;
		/** @type {Map<number, {x: number, y: number}>} */
		this.pointers = new Map();
		/** @type {{x: number, y: number} | null} */
		this.cursor = null;
		this.queued = 0;
		this.checks = this.#checks();
		new ResizeObserver(() => this.#resized()).observe(stage);
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
			this.checks = this.#checks();
			this.draw();
		});
		this.#listen();
	}

	/** @param {Shown | null} shown */
	show(shown) {
		const sameSize =
			this.shown && shown && this.shown.cut.width === shown.cut.width && this.shown.cut.height === shown.cut.height;
		this.shown = shown;
		this.pointers.clear();
		if (!sameSize) this.fit();
		this.draw();
	}

	/** @param {Tool} tool */
	use(tool) {
		this.tool = tool;
		this.stage.dataset.tool = tool;
		this.cursor = null;
		this.draw();
	}

	fit() {
		if (!this.shown) return;
		const { clientWidth, clientHeight } = this.stage;
		const { width, height } = this.shown.cut;
		this.scale = Math.min((clientWidth - 24) / width, (clientHeight - 24) / height, 4);
		this.x = (clientWidth - width * this.scale) / 2;
		this.y = (clientHeight - height * this.scale) / 2;
		this.fitted = true;
		this.#zoomed();
	}

	/**
	 * @param {number} factor
	 * @param {number} [x] fixed point on the stage; its centre if omitted
	 * @param {number} [y]
	 */
	zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
		const scale = Math.min(MAX_ZOOM, Math.max(0.02, this.scale * factor));
		this.x = x - ((x - this.x) * scale) / this.scale;
		this.y = y - ((y - this.y) * scale) / this.scale;
		this.scale = scale;
		this.fitted = false;
		this.#zoomed();
	}

	/** @param {number} share of the stage, from the left, 0 to 1 */
	setWipe(share) {
		this.wipeShare = Math.min(1, Math.max(0, share));
		this.draw();
	}

	draw() {
		if (!this.queued) this.queued = requestAnimationFrame(() => this.#draw());
	}

	#zoomed() {
		this.dispatchEvent(new Event("zoom"));
		this.draw();
	}

	#resized() {
		if (this.fitted) this.fit();
		this.draw();
	}

	#draw() {
		this.queued = 0;
		const ratio = devicePixelRatio || 1;
		const { clientWidth, clientHeight } = this.stage;
		this.canvas.width = Math.round(clientWidth * ratio);
		this.canvas.height = Math.round(clientHeight * ratio);
		const target = this.canvas.getContext("2d");
		const compares = this.tool === "compare" && this.shown !== null && this.shown.original !== null;
		this.wipe.hidden = !compares;
		if (!target || !this.shown) return;
		target.scale(ratio, ratio);
		target.imageSmoothingEnabled = this.scale < 3;
		target.imageSmoothingQuality = "high";
		const { cut, original } = this.shown;
		const area = { left: this.x, top: this.y, width: cut.width * this.scale, height: cut.height * this.scale };
		this.#drawBackdrop(target, area);
		target.drawImage(cut, area.left, area.top, area.width, area.height);
		if (this.frame) this.#drawFrame(target, area, this.frame);
		if (original && compares) this.#drawOriginal(target, area, original);
		else if (original && this.tool === "restore") this.#drawGhost(target, area, original);
		if (this.cursor && this.tool !== "compare") this.#drawCursor(target, this.cursor);
	}

	/**
	 * @param {CanvasRenderingContext2D} target
	 * @param {Box} area
	 */
	#drawBackdrop(target, area) {
		target.save();
		target.beginPath();
		target.rect(area.left, area.top, area.width, area.height);
		target.clip();
		target.fillStyle = this.backdrop.colour || this.checks || "#ccc";
		target.fillRect(area.left, area.top, area.width, area.height);
		if (this.backdrop.picture) cover(target, this.backdrop.picture, this.#framed(area));
		target.restore();
	}

	/**
	 * Return the downloaded part on the stage.
	 * @param {Box} area
	 * @returns {Box}
	 */
	#framed(area) {
		if (!this.frame) return area;
		const { left, top, width, height } = this.frame;
		return {
			left: area.left + left * this.scale,
			top: area.top + top * this.scale,
			width: width * this.scale,
			height: height * this.scale,
		};
	}

	/**
	 * @param {CanvasRenderingContext2D} target
	 * @param {Box} area
	 * @param {Box} frame
	 */
	#drawFrame(target, area, frame) {
		const left = area.left + frame.left * this.scale;
		const top = area.top + frame.top * this.scale;
		target.fillStyle = "rgba(20, 20, 24, .55)";
		target.beginPath();
		target.rect(area.left, area.top, area.width, area.height);
		target.rect(left, top, frame.width * this.scale, frame.height * this.scale);
		target.fill("evenodd");
	}

	/**
	 * @param {CanvasRenderingContext2D} target
	 * @param {Box} area
	 * @param {HTMLCanvasElement} original
	 */
	#drawOriginal(target, area, original) {
		const border = this.wipeShare * this.stage.clientWidth;
		target.save();
		target.beginPath();
		target.rect(0, 0, border, this.stage.clientHeight);
		target.clip();
		target.drawImage(original, area.left, area.top, area.width, area.height);
		target.restore();
		this.wipe.style.left = `${border}px`;
		this.wipe.setAttribute("aria-valuenow", String(Math.round(this.wipeShare * 100)));
	}

	/**
	 * Show faintly what could be restored.
	 * @param {CanvasRenderingContext2D} target
	 * @param {Box} area
	 * @param {HTMLCanvasElement} original
	 */
	#drawGhost(target, area, original) {
		target.globalAlpha = 0.3;
		target.drawImage(original, area.left, area.top, area.width, area.height);
		target.globalAlpha = 1;
	}

	/**
	 * @param {CanvasRenderingContext2D} target
	 * @param {{x: number, y: number}} at
	 */
	#drawCursor(target, at) {
		const radius = ((this.shown?.touchUp.size ?? 0) * this.scale) / 2;
		for (const [colour, width] of /** @type {[string, number][]} */ ([
			["#000", 3],
			["#fff", 1.5],
		])) {
			target.strokeStyle = colour;
			target.lineWidth = width;
			target.beginPath();
			target.arc(at.x, at.y, Math.max(2, radius), 0, 2 * Math.PI);
			target.stroke();
		}
	}

	/** Return the pattern for transparent parts. */
	#checks() {
		const tile = document.createElement("canvas");
		tile.width = tile.height = 2 * CHECK;
		const target = tile.getContext("2d");
		if (!target) return null;
		const style = getComputedStyle(document.documentElement);
		target.fillStyle = style.getPropertyValue("--check-a");
		target.fillRect(0, 0, 2 * CHECK, 2 * CHECK);
		target.fillStyle = style.getPropertyValue("--check-b");
		target.fillRect(0, 0, CHECK, CHECK);
		target.fillRect(CHECK, CHECK, CHECK, CHECK);
		return target.createPattern(tile, "repeat");
	}

	#listen() {
		const { canvas, wipe, stage } = this;
		canvas.addEventListener("pointerdown", (event) => this.#down(event));
		canvas.addEventListener("pointermove", (event) => this.#move(event));
		for (const kind of ["pointerup", "pointercancel"])
			canvas.addEventListener(kind, (event) => this.#up(/** @type {PointerEvent} */ (event)));
		canvas.addEventListener("pointerleave", () => {
			this.cursor = null;
			this.draw();
		});
		canvas.addEventListener("dblclick", () => this.tool === "compare" && this.fit());
		canvas.addEventListener("keydown", (event) => this.#key(event));
		stage.addEventListener(
			"wheel",
			(event) => {
				event.preventDefault();
				const { x, y } = this.#at(event);
				this.zoom(Math.exp(-event.deltaY / 400), x, y);
			},
			{ passive: false },
		);
		wipe.addEventListener("pointerdown", (event) => wipe.setPointerCapture(event.pointerId));
		wipe.addEventListener("pointermove", (event) => {
			if (wipe.hasPointerCapture(event.pointerId)) this.setWipe(this.#at(event).x / stage.clientWidth);
		});
		wipe.addEventListener("keydown", (event) => {
			const step = {
				ArrowLeft: -0.02,
				ArrowDown: -0.02,
				ArrowRight: 0.02,
				ArrowUp: 0.02,
				PageDown: -0.1,
				PageUp: 0.1,
				Home: -1,
				End: 1,
			}[event.key];
			if (step === undefined) return;
			event.preventDefault();
			this.setWipe(this.wipeShare + step);
		});
	}

	/**
	 * Return the place of an event on the stage.
	 * @param {MouseEvent} event
	 */
	#at(event) {
		const box = this.stage.getBoundingClientRect();
		return { x: event.clientX - box.left - this.stage.clientLeft, y: event.clientY - box.top - this.stage.clientTop };
	}

	/** @param {{x: number, y: number}} at */
	#inPicture(at) {
		return { x: (at.x - this.x) / this.scale, y: (at.y - this.y) / this.scale };
	}

	/** @param {PointerEvent} event */
	#down(event) {
		if (!this.shown) return;
		const at = this.#at(event);
		this.canvas.setPointerCapture(event.pointerId);
		this.pointers.set(event.pointerId, at);
		const touchUp = this.shown.touchUp;
		if (this.pointers.size > 1) {
			if (touchUp.stroke) {
				// a second finger zooms instead
				touchUp.end();
				touchUp.undo();
				touchUp.undone = [];
			}
		} else if (this.tool !== "compare" && event.button === 0)
			touchUp.begin(this.#inPicture(at), this.tool === "restore");
		this.draw();
	}

	/** @param {PointerEvent} event */
	#move(event) {
		if (!this.shown) return;
		const at = this.#at(event);
		this.cursor = at;
		const before = this.pointers.get(event.pointerId);
		if (before) {
			if (this.pointers.size > 1) this.#pinch(event.pointerId, before, at);
			else if (this.shown.touchUp.stroke)
				for (const part of event.getCoalescedEvents?.() ?? [event])
					this.shown.touchUp.move(this.#inPicture(this.#at(part)));
			else this.#pan(at.x - before.x, at.y - before.y);
			this.pointers.set(event.pointerId, at);
		}
		this.draw();
	}

	/** @param {PointerEvent} event */
	#up(event) {
		this.pointers.delete(event.pointerId);
		if (this.shown?.touchUp.stroke) {
			this.shown.touchUp.end();
			this.dispatchEvent(new Event("edit"));
		}
		this.draw();
	}

	/**
	 * Zoom and move the picture, or move the brush; with the space bar or Shift it paints.
	 * @param {KeyboardEvent} event
	 */
	#key(event) {
		if (!this.shown || event.ctrlKey || event.metaKey || event.altKey) return;
		const arrow = ARROWS[event.key];
		const brush = this.tool !== "compare";
		if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1.25 : 0.8);
		else if (brush && (arrow || event.key === " ")) this.#brush(arrow ?? [0, 0], event.shiftKey || !arrow);
		else if (arrow) this.#pan(-arrow[0] * KEY_STEP, -arrow[1] * KEY_STEP);
		else return;
		event.preventDefault();
		this.draw();
	}

	/**
	 * @param {[number, number]} direction
	 * @param {boolean} paints
	 */
	#brush([x, y], paints) {
		const from = this.cursor ?? { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 };
		this.cursor = { x: from.x + x * KEY_STEP, y: from.y + y * KEY_STEP };
		const touchUp = this.shown?.touchUp;
		if (!paints || !touchUp || this.pointers.size) return;
		touchUp.begin(this.#inPicture(from), this.tool === "restore");
		touchUp.move(this.#inPicture(this.cursor));
		touchUp.end();
		this.dispatchEvent(new Event("edit"));
	}

	/**
	 * @param {number} x
	 * @param {number} y
	 */
	#pan(x, y) {
		this.x += x;
		this.y += y;
		this.fitted = false;
	}

	/**
	 * @param {number} id
	 * @param {{x: number, y: number}} before
	 * @param {{x: number, y: number}} at
	 */
	#pinch(id, before, at) {
		const other = [...this.pointers].find(([key]) => key !== id)?.[1];
		if (!other) return;
		const was = Math.hypot(before.x - other.x, before.y - other.y);
		const is = Math.hypot(at.x - other.x, at.y - other.y);
		this.#pan((at.x - before.x) / 2, (at.y - before.y) / 2);
		if (was > 0) this.zoom(is / was, (at.x + other.x) / 2, (at.y + other.y) / 2);
	}
}
