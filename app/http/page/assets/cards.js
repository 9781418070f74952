/** List of the visit's pictures. */
import { drawn } from "./canvas.js";
import { stateOf } from "./words.js";

/** @typedef {import("./pictures.js").Picture} Picture */

const THUMB_SIDE = 300;
const DOUBLE_CLICK_MS = 500;
/** Distance from the window within which thumbnails are made. */
const NEARLY_VISIBLE = { rootMargin: "800px" };

export class Cards extends EventTarget {
	/** @param {HTMLElement} list */
	constructor(list) {
		super();
		this.list = list;
		/** @type {Map<Picture, HTMLElement>} */
		this.items = new Map();
		this.closedAt = -DOUBLE_CLICK_MS;
		/** @type {Map<Element, Picture>} */
		this.pictures = new Map();
		/** What the thumbnail of a picture was made of. @type {WeakMap<Picture, unknown>} */
		this.drawn = new WeakMap();
		this.observer = new IntersectionObserver((entries) => {
			for (const { target, isIntersecting } of entries) {
				target.toggleAttribute("data-visible", isIntersecting);
				this.#refresh(/** @type {HTMLElement} */ (target));
			}
		}, NEARLY_VISIBLE);
		/** Thumbnails are made one after the other. */
		this.drawing = Promise.resolve();
		setInterval(() => this.#tick(), 1000);
	}

	/** @param {Picture} picture */
	update(picture) {
		const item = this.items.get(picture) ?? this.#add(picture);
		item.dataset.state = picture.state;
		part(item, ".card-state").textContent = stateOf(picture);
		const progress = /** @type {HTMLProgressElement} */ (part(item, "progress"));
		progress.hidden = !["uploading", "running"].includes(picture.state);
		if (picture.state === "uploading") progress.value = picture.uploaded;
		else progress.removeAttribute("value");
		part(item, ".card-retry").textContent = picture.state === "paused" ? "Try now" : "Try again";
		const hasFile = picture.source !== null;
		part(item, ".card-retry").hidden = !hasFile || !["failed", "paused", "cancelled"].includes(picture.state);
		this.#refresh(item);
	}

	/** @param {Picture | null} current */
	mark(current) {
		for (const [picture, item] of this.items) {
			item.toggleAttribute("data-current", picture === current);
			part(item, ".card-open").setAttribute("aria-pressed", String(picture === current));
		}
	}

	/** @param {Picture} picture */
	remove(picture) {
		const item = this.items.get(picture);
		if (!item) return;
		this.items.delete(picture);
		this.pictures.delete(item);
		this.observer.unobserve(item);
		const next = /** @type {HTMLElement | null} */ (item.nextElementSibling ?? item.previousElementSibling);
		item.remove();
		next?.querySelector("button")?.focus();
	}

	/**
	 * Draw the thumbnail of a visible card again, if there is something new to show.
	 * @param {HTMLElement} item
	 */
	#refresh(item) {
		const picture = this.pictures.get(item);
		if (!picture || !item.hasAttribute("data-visible")) return;
		const shown = picture.state === "done" ? picture.result : picture.source;
		if (this.drawn.get(picture) === shown) return;
		this.drawn.set(picture, shown);
		this.drawing = this.drawing.then(() => this.#draw(picture));
	}

	/**
	 * Draw a picture, scaled down; one that the browser can't read leaves the card empty.
	 * @param {Picture} picture
	 */
	async #draw(picture) {
		const source = picture.state === "done" ? await picture.result?.().catch(() => null) : picture.source;
		if (source instanceof Blob) await this.thumbnail(picture, source);
	}

	/**
	 * @param {Picture} picture
	 * @param {Blob | HTMLCanvasElement} source
	 */
	async thumbnail(picture, source) {
		const canvas = /** @type {HTMLCanvasElement | undefined} */ (this.items.get(picture)?.querySelector("canvas"));
		if (!canvas) return;
		const bitmap = await createImageBitmap(source).catch(() => null);
		if (!bitmap) return;
		const scale = Math.min(1, THUMB_SIDE / Math.max(bitmap.width, bitmap.height));
		const small = drawn(bitmap, bitmap.width * scale, bitmap.height * scale);
		bitmap.close();
		canvas.width = small.width;
		canvas.height = small.height;
		canvas.getContext("2d")?.drawImage(small, 0, 0);
	}

	/** @param {Picture} picture */
	#add(picture) {
		const item = document.createElement("li");
		item.className = "card";
		const open = button("card-open", "", () => this.#tell("open", picture));
		const thumb = document.createElement("canvas");
		thumb.className = "thumb";
		thumb.setAttribute("aria-hidden", "true");
		const name = text("card-name", picture.name);
		name.title = picture.name;
		open.append(thumb, name, text("card-state", ""));
		const progress = document.createElement("progress");
		progress.setAttribute("aria-label", `Progress of ${picture.name}`);
		const retry = button("button small card-retry", "Try now", () => this.#tell("retry", picture));
		const close = button("card-close", "×", (event) => this.#close(picture, event.timeStamp));
		close.setAttribute("aria-label", `Remove ${picture.name} from the list`);
		item.append(open, progress, retry, close);
		this.items.set(picture, item);
		this.pictures.set(item, picture);
		this.observer.observe(item);
		this.list.append(item);
		return item;
	}

	/**
	 * Ask to remove a picture; the second click of a double click would hit the next one.
	 * @param {Picture} picture
	 * @param {number} clickedAt ms
	 */
	#close(picture, clickedAt) {
		if (clickedAt - this.closedAt < DOUBLE_CLICK_MS) return;
		this.closedAt = clickedAt;
		this.#tell("close", picture);
	}

	#tick() {
		for (const [picture, item] of this.items)
			if (picture.retryAt) part(item, ".card-state").textContent = stateOf(picture);
	}

	/**
	 * @param {string} kind
	 * @param {Picture} picture
	 */
	#tell(kind, picture) {
		this.dispatchEvent(new CustomEvent(kind, { detail: picture }));
	}
}

/**
 * @param {HTMLElement} item
 * @param {string} selector
 */
function part(item, selector) {
	return /** @type {HTMLElement} */ (item.querySelector(selector));
}

/**
 * @param {string} name
 * @param {string} content
 */
export function text(name, content) {
	const span = document.createElement("span");
	span.className = name;
	span.textContent = content;
	return span;
}

/**
 * @param {string} name
 * @param {string} content
 * @param {(event: MouseEvent) => void} onClick
 */
export function button(name, content, onClick) {
	const made = document.createElement("button");
	made.type = "button";
	made.className = name;
	made.textContent = content;
	made.addEventListener("click", onClick);
	return made;
}
