/** Pictures of this visit, and the queue that sends them. */
import { Failure } from "./service.js";

/** @typedef {"waiting" | "uploading" | "working" | "paused" | "done" | "failed"} State */

/** Requests at once: one is uploaded while another is in an engine. */
const PARALLEL = 2;
/** Retries of a picture that failed by no fault of its own, besides rate limits and lost connections. */
const MAX_RETRIES = 8;

export class Picture {
	static #count = 0;

	/**
	 * @param {File | string} source
	 * @param {import("./service.js").CutOptions} options
	 */
	constructor(source, options) {
		this.id = ++Picture.#count;
		this.source = source;
		this.options = options;
		this.name = typeof source === "string" ? nameInAddress(source) : source.name || "picture";
		/** @type {State} */
		this.state = "waiting";
		this.uploaded = 0;
		this.retries = 0;
		/** Time of the next try, ms since the epoch; 0: none planned. */
		this.retryAt = 0;
		/** @type {Failure | null} */
		this.failure = null;
		/** @type {import("./service.js").Answer | null} */
		this.answer = null;
		/** Cut-out with touch-ups. @type {HTMLCanvasElement | null} */
		this.edited = null;
		this.abort = new AbortController();
	}

	/** Name without its ending. */
	get stem() {
		return this.name.replace(/\.[A-Za-z0-9]{2,5}$/, "") || "picture";
	}
}

/** @param {string} address */
function nameInAddress(address) {
	const last = new URL(address).pathname.split("/").pop() || "picture";
	try {
		return decodeURIComponent(last);
	} catch {
		return last;
	}
}

/** Queue of pictures. Dispatches "change" with the picture as detail, and "key" when a key is needed. */
export class Queue extends EventTarget {
	/** @param {import("./service.js").Service} service */
	constructor(service) {
		super();
		this.service = service;
		/** @type {Picture[]} */
		this.pictures = [];
		this.active = 0;
		/** Time before which nothing is sent, ms since the epoch. */
		this.blockedUntil = 0;
		this.needsKey = false;
		this.timer = 0;
		addEventListener("online", () => this.resume());
	}

	/** @param {Picture} picture */
	add(picture) {
		this.pictures.push(picture);
		this.#changed(picture);
		this.#next();
	}

	/** @param {Picture} picture */
	drop(picture) {
		picture.abort.abort(new DOMException("removed", "AbortError"));
		this.pictures = this.pictures.filter((other) => other !== picture);
	}

	/** @param {Picture} picture */
	retry(picture) {
		if (["waiting", "uploading", "working"].includes(picture.state)) return;
		picture.retries = 0;
		this.#wait(picture);
		this.blockedUntil = 0;
		this.#next();
	}

	/** Send all that waits, now. */
	resume() {
		this.blockedUntil = 0;
		this.needsKey = false;
		for (const picture of this.pictures) if (picture.state === "paused") this.#wait(picture);
		this.#next();
	}

	/** @param {Picture} picture */
	#wait(picture) {
		picture.state = "waiting";
		picture.failure = null;
		picture.retryAt = 0;
		this.#changed(picture);
	}

	#next() {
		clearTimeout(this.timer);
		if (this.needsKey) return;
		const now = Date.now();
		for (const picture of this.pictures)
			if (picture.state === "paused" && picture.retryAt && picture.retryAt <= now) this.#wait(picture);
		while (this.active < PARALLEL && now >= this.blockedUntil) {
			const picture = this.pictures.find((candidate) => candidate.state === "waiting");
			if (!picture) break;
			this.#run(picture);
		}
		const planned = this.pictures
			.filter((picture) => picture.state === "paused" && picture.retryAt)
			.map((picture) => picture.retryAt);
		if (this.blockedUntil > now) planned.push(this.blockedUntil);
		if (planned.length) this.timer = setTimeout(() => this.#next(), Math.max(50, Math.min(...planned) - now));
	}

	/** @param {Picture} picture */
	async #run(picture) {
		this.active++;
		picture.state = "uploading";
		picture.uploaded = 0;
		this.#changed(picture);
		try {
			picture.answer = await this.service.remove(
				picture.source,
				picture.options,
				(share) => this.#uploaded(picture, share),
				picture.abort.signal,
			);
			picture.edited = null;
			picture.state = "done";
		} catch (error) {
			if (!picture.abort.signal.aborted)
				this.#fail(picture, error instanceof Failure ? error : new Failure("INTERNAL", { message: String(error) }));
		} finally {
			this.active--;
		}
		if (!picture.abort.signal.aborted) this.#changed(picture);
		this.#next();
	}

	/**
	 * @param {Picture} picture
	 * @param {number} share
	 */
	#uploaded(picture, share) {
		picture.uploaded = share;
		picture.state = share < 1 ? "uploading" : "working";
		this.#changed(picture);
	}

	/**
	 * @param {Picture} picture
	 * @param {Failure} failure
	 */
	#fail(picture, failure) {
		picture.failure = failure;
		picture.state = "failed";
		if (failure.code === "AUTH_REQUIRED" || failure.code === "AUTH_FAILED") {
			picture.state = "paused";
			this.needsKey = true;
			this.dispatchEvent(new CustomEvent("key", { detail: failure }));
		} else if (failure.retryAfter !== null) {
			const outOfReach = ["RATE_LIMITED", "OFFLINE", "UNREACHABLE"].includes(failure.code);
			if (!outOfReach && ++picture.retries > MAX_RETRIES) return;
			picture.state = "paused";
			picture.retryAt = Date.now() + failure.retryAfter * 1000;
			if (outOfReach) this.blockedUntil = picture.retryAt; // the others would fail as well
		}
	}

	/** @param {Picture} picture */
	#changed(picture) {
		this.dispatchEvent(new CustomEvent("change", { detail: picture }));
	}
}
