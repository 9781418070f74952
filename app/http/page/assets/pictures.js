/** Pictures of this visit, and the queue that sends them. */
import { Failure } from "./service.js";

/** @typedef {"queued" | "uploading" | "running" | "paused" | "done" | "failed" | "cancelled"} State */

/** Requests at once: one is uploaded while another is in an engine. */
const PARALLEL = 2;
/** Retries of a picture that failed by no fault of its own, besides rate limits and lost connections. */
const MAX_RETRIES = 8;

export class Picture {
	/**
	 * @param {File | string | null} source null: of a job from before a reload
	 * @param {import("./service.js").CutOptions} options
	 * @param {string} [name]
	 */
	constructor(source, options, name) {
		this.source = source;
		this.options = options;
		this.name = name ?? (typeof source === "string" ? nameInAddress(source) : source?.name || "picture");
		/** Job that it is a part of. @type {import("./job.js").Job | null} */
		this.job = null;
		/** @type {State} */
		this.state = "queued";
		this.uploaded = 0;
		this.retries = 0;
		/** Time of the next try, ms since the epoch; 0: none planned. */
		this.retryAt = 0;
		/** @type {Failure | null} */
		this.failure = null;
		/** Read the result. @type {(() => Promise<Blob>) | null} */
		this.result = null;
		/** Cut-out with touch-ups. @type {HTMLCanvasElement | null} */
		this.edited = null;
		this.abort = new AbortController();
	}

	/** Name without its ending. */
	get stem() {
		return this.name.replace(/\.[A-Za-z0-9]{2,5}$/, "") || "picture";
	}
}

/**
 * Return the numbers of pictures by state.
 * @param {Picture[]} pictures
 */
export function countsOf(pictures) {
	/** @type {Record<string, number>} */
	const counts = { done: 0, failed: 0 };
	for (const { state } of pictures) counts[state] = (counts[state] ?? 0) + 1;
	return counts;
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

/** Queue of pictures. Dispatches "change" with the picture as detail, "key" when a key is needed, "resume" when all is sent now. */
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
		this.changed(picture);
		this.#next();
	}

	/**
	 * Send the pictures of a job one by one.
	 * @param {Picture[]} pictures
	 */
	release(pictures) {
		for (const picture of pictures) {
			picture.job = null;
			if (this.pictures.includes(picture)) this.#wait(picture);
		}
		this.#next();
	}

	/** @param {Picture} picture */
	drop(picture) {
		picture.abort.abort(new DOMException("removed", "AbortError"));
		this.pictures = this.pictures.filter((other) => other !== picture);
	}

	/** @param {Picture} picture */
	retry(picture) {
		if (["queued", "uploading", "running"].includes(picture.state)) return;
		picture.retries = 0;
		picture.job = null;
		this.#wait(picture);
		this.blockedUntil = 0;
		this.#next();
	}

	/** Send all that waits, now. */
	resume() {
		this.blockedUntil = 0;
		this.needsKey = false;
		this.dispatchEvent(new Event("resume"));
		for (const picture of this.pictures) if (picture.state === "paused") this.#wait(picture);
		this.#next();
	}

	/** @param {Picture} picture */
	#wait(picture) {
		picture.state = "queued";
		picture.failure = null;
		picture.retryAt = 0;
		this.changed(picture);
	}

	#next() {
		clearTimeout(this.timer);
		if (this.needsKey) return;
		const now = Date.now();
		for (const picture of this.pictures)
			if (picture.state === "paused" && picture.retryAt && picture.retryAt <= now) this.#wait(picture);
		while (this.active < PARALLEL && now >= this.blockedUntil) {
			const picture = this.pictures.find(({ state, job }) => state === "queued" && !job);
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
		if (picture.source === null) return;
		this.active++;
		picture.state = "uploading";
		picture.uploaded = 0;
		this.changed(picture);
		try {
			const onUpload = (/** @type {number} */ share) => this.uploaded(picture, share);
			const blob = await this.service.remove(picture.source, picture.options, onUpload, picture.abort.signal);
			picture.result = () => Promise.resolve(blob);
			picture.edited = null;
			picture.state = "done";
		} catch (error) {
			if (!picture.abort.signal.aborted)
				this.#fail(picture, error instanceof Failure ? error : new Failure("INTERNAL", { message: String(error) }));
		} finally {
			this.active--;
		}
		if (!picture.abort.signal.aborted) this.changed(picture);
		this.#next();
	}

	/**
	 * @param {Picture} picture
	 * @param {number} share
	 */
	uploaded(picture, share) {
		picture.uploaded = share;
		picture.state = share < 1 ? "uploading" : "running";
		this.changed(picture);
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
			this.askForKey(failure);
		} else if (failure.retryAfter !== null) {
			const outOfReach = ["RATE_LIMITED", "OFFLINE", "UNREACHABLE"].includes(failure.code);
			if (!outOfReach && ++picture.retries > MAX_RETRIES) return;
			picture.state = "paused";
			picture.retryAt = Date.now() + failure.retryAfter * 1000;
			if (outOfReach) this.blockedUntil = picture.retryAt; // the others would fail as well
		}
	}

	/** @param {Failure} failure */
	askForKey(failure) {
		this.needsKey = true;
		this.dispatchEvent(new CustomEvent("key", { detail: failure }));
	}

	/** @param {Picture} picture */
	changed(picture) {
		this.dispatchEvent(new CustomEvent("change", { detail: picture }));
	}
}
