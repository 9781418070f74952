/** Jobs of this tab, processed by the server also while the page is closed. */
import { storage } from "./dom.js";
import { Job } from "./job.js";
import { Picture } from "./pictures.js";
import { Failure } from "./service.js";

/** @typedef {import("./service.js").Item} Item */
/** @typedef {import("./service.js").JobAnswer} JobAnswer */

/** Pictures added together that make a job; fewer are sent one by one, and shown as soon as they are done. */
export const MIN_FILES = 21;
const STORED = "background-remover-jobs";
/** Upper bound for boundary, headers and name of a file in a body. */
const PART_BYTES = 1000;
const SECONDS_BETWEEN_TRIES = 3;
/** Causes for which the pictures are sent one by one: no jobs on this server, or not now. */
const WITHOUT_JOBS = ["NOT_FOUND", "METHOD_NOT_ALLOWED", "JOBS_UNAVAILABLE"];

/** Dispatches "change" with the job as detail, and "gone" for a job that the server no longer has. */
export class Jobs extends EventTarget {
	/**
	 * @param {import("./service.js").Service} service
	 * @param {import("./pictures.js").Queue} queue
	 * @param {{files: number, bytes: number}} limits of one job
	 */
	constructor(service, queue, limits) {
		super();
		this.service = service;
		this.queue = queue;
		this.limits = limits;
		/** @type {Job[]} */
		this.jobs = [];
		this.uploading = false;
		queue.addEventListener("resume", () => {
			for (const job of this.jobs) job.wake();
		});
	}

	/** @param {Picture[]} pictures of files */
	add(pictures) {
		for (const part of this.#parts(pictures)) this.#append(new Job(part));
		for (const picture of pictures) this.queue.add(picture);
		this.#upload();
	}

	/** Go on with the jobs of this tab from before a reload. */
	restore() {
		for (const id of stored()) {
			const job = new Job([], id);
			this.#append(job);
			this.#attempt(job, () => this.#follow(job));
		}
	}

	/**
	 * Cancel a job; the results so far are read before it is deleted with them.
	 * @param {Job} job
	 */
	async cancel(job) {
		job.abort.abort(new DOMException("cancelled", "AbortError"));
		job.wake();
		job.state = "cancelled";
		for (const picture of job.unfinished) this.#set(picture, "cancelled");
		this.#changed(job);
		await Promise.allSettled(job.own.map((picture) => picture.result?.()));
		this.#remove(job);
		await this.#delete(job);
	}

	/**
	 * Delete a job without pictures in the list.
	 * @param {Job} job
	 */
	async forget(job) {
		if (job.pictures.some((picture) => this.queue.pictures.includes(picture))) return;
		this.#end(job);
		await this.#delete(job);
	}

	/** @param {Job} job */
	async #delete(job) {
		if (job.id) await this.service.fetch(`/jobs/${job.id}`, { method: "DELETE" }).catch(() => {}); // it expires anyway
	}

	/** @param {Job} job */
	#append(job) {
		this.jobs.push(job);
		this.#changed(job);
	}

	/**
	 * Return pictures in parts that the server accepts.
	 * @param {Picture[]} pictures
	 */
	#parts(pictures) {
		/** @type {Picture[][]} */
		const parts = [];
		let bytes = 0;
		for (const picture of pictures) {
			bytes += sizeOf(picture);
			const last = parts.at(-1);
			if (last && last.length < this.limits.files && bytes <= this.limits.bytes) last.push(picture);
			else {
				parts.push([picture]);
				bytes = PART_BYTES + sizeOf(picture);
			}
		}
		return parts;
	}

	/** Upload the jobs that wait, one at a time. */
	async #upload() {
		if (this.uploading) return;
		this.uploading = true;
		for (;;) {
			const job = this.jobs.find(({ id, ended }) => !id && !ended);
			if (!job) break;
			await this.#attempt(job, () => this.#create(job));
			if (job.id) this.#attempt(job, () => this.#follow(job));
		}
		this.uploading = false;
	}

	/**
	 * Repeat a step until it succeeds or the job ends; wait as long as the failure says.
	 * @param {Job} job
	 * @param {() => Promise<void>} step
	 */
	async #attempt(job, step) {
		while (!job.ended) {
			try {
				await step();
				return;
			} catch (error) {
				if (job.ended || job.abort.signal.aborted) return;
				const failure = error instanceof Failure ? error : new Failure("INTERNAL", { message: String(error) });
				if (!this.#settles(job, failure)) await this.#pause(job, failure);
			}
		}
	}

	/** @param {Job} job */
	async #create(job) {
		job.state = "uploading";
		this.#changed(job);
		const files = job.pictures.map(({ source }) => /** @type {File} */ (source));
		const onUpload = (/** @type {number} */ share) => this.#uploaded(job, share);
		const answer = await this.service.createJob(
			files,
			job.pictures[0].options,
			job.idempotencyKey,
			onUpload,
			job.abort.signal,
		);
		job.id = answer.id;
		this.#store();
		this.#apply(job, answer);
	}

	/**
	 * Show the upload of a job at its pictures, which are sent in order.
	 * @param {Job} job
	 * @param {number} share
	 */
	#uploaded(job, share) {
		job.uploaded = share;
		let left = share * job.pictures.reduce((sum, picture) => sum + sizeOf(picture), 0);
		for (const picture of job.pictures) {
			if (left <= 0) break;
			const size = sizeOf(picture);
			picture.uploaded = Math.min(1, left / size);
			this.#set(picture, picture.uploaded < 1 ? "uploading" : "queued");
			left -= size;
		}
		this.#changed(job);
	}

	/**
	 * Follow a job to its end.
	 * @param {Job} job
	 */
	async #follow(job) {
		while (!job.ended) {
			for await (const answer of this.service.events(job.id, job.abort.signal)) this.#apply(job, answer);
			if (!job.ended) await new Promise((resolve) => setTimeout(resolve, 1000)); // proxies end long answers
		}
	}

	/**
	 * @param {Job} job
	 * @param {JobAnswer} answer
	 */
	#apply(job, answer) {
		if (answer.state === "cancelled") return this.#lose(job);
		job.failure = null;
		job.state = answer.state;
		job.secondsLeft = answer.seconds_left;
		job.results = answer.links.results;
		for (const item of answer.items) this.#applyItem(job, item);
		this.#changed(job);
	}

	/**
	 * @param {Job} job
	 * @param {Item} item
	 */
	#applyItem(job, { number, name, state, error, results }) {
		let picture = job.pictures[number - 1];
		if (!picture) {
			picture = job.pictures[number - 1] = new Picture(null, { model: "", refine: "", size: "" }, name);
			picture.job = job;
			this.queue.add(picture);
		}
		if (picture.job !== job || picture.state === "done") return;
		picture.failure = error && new Failure(error.code, error);
		const link = results[0]?.link;
		if (state === "done") picture.result = once(async () => (await this.service.fetch(link)).blob());
		this.#set(picture, state);
	}

	/**
	 * End or change a job for which waiting does not help; return whether this is so.
	 * @param {Job} job
	 * @param {Failure} failure
	 */
	#settles(job, failure) {
		const { code, remaining, retryAfter } = failure;
		if (job.id && code === "NOT_FOUND") this.#lose(job);
		else if (job.id || isKey(failure)) return false;
		else if (WITHOUT_JOBS.includes(code)) this.#giveBack(job);
		else if (code === "RATE_LIMITED" && remaining > 0 && remaining < job.pictures.length) this.#split(job, remaining);
		else if (failure.files.length) this.#leaveOut(job, failure);
		else if (retryAfter === null) this.#fail(job, failure);
		else return false;
		return true;
	}

	/**
	 * Make another job of the pictures that the rate limit does not allow now.
	 * @param {Job} job
	 * @param {number} size
	 */
	#split(job, size) {
		const rest = new Job(job.pictures.splice(size));
		this.jobs.splice(this.jobs.indexOf(job) + 1, 0, rest);
		this.#changed(rest);
	}

	/**
	 * Send a job without the files that the browser can't read.
	 * @param {Job} job
	 * @param {Failure} failure
	 */
	#leaveOut(job, failure) {
		const unreadable = job.pictures.filter(({ source }) => failure.files.includes(/** @type {File} */ (source)));
		job.pictures = job.pictures.filter((picture) => !unreadable.includes(picture));
		for (const picture of unreadable) {
			picture.job = null;
			picture.failure = failure;
			this.#set(picture, "failed");
		}
		if (!job.pictures.length) this.#end(job);
	}

	/** @param {Job} job that the server no longer has */
	#lose(job) {
		if (!job.pictures.length) this.dispatchEvent(new Event("gone"));
		this.#fail(job, new Failure("JOB_GONE"));
	}

	/** @param {Job} job */
	#giveBack(job) {
		this.#end(job);
		this.queue.release(job.pictures);
	}

	/**
	 * @param {Job} job
	 * @param {Failure} failure of all pictures without a result
	 */
	#fail(job, failure) {
		this.#end(job);
		for (const picture of job.unfinished) {
			picture.failure = failure;
			this.#set(picture, "failed");
		}
	}

	/** @param {Job} job */
	#end(job) {
		job.abort.abort(new DOMException("ended", "AbortError"));
		job.wake();
		job.state = "cancelled";
		this.#remove(job);
	}

	/** @param {Job} job */
	#remove(job) {
		this.jobs = this.jobs.filter((other) => other !== job);
		this.#store();
		this.#changed(job);
	}

	/**
	 * @param {Job} job
	 * @param {Failure} failure
	 * @returns {Promise<void>}
	 */
	#pause(job, failure) {
		job.failure = failure;
		if (!job.id) {
			job.uploaded = 0;
			for (const picture of job.own) this.#set(picture, "queued");
		}
		const seconds = failure.retryAfter ?? SECONDS_BETWEEN_TRIES;
		if (isKey(failure)) this.queue.askForKey(failure);
		else job.retryAt = Date.now() + seconds * 1000;
		this.#changed(job);
		return new Promise((resolve) => {
			const timer = job.retryAt ? setTimeout(() => job.wake(), seconds * 1000) : 0;
			job.wake = () => {
				clearTimeout(timer);
				job.failure = null;
				job.retryAt = 0;
				this.#changed(job);
				resolve();
			};
		});
	}

	/**
	 * @param {Picture} picture
	 * @param {import("./pictures.js").State} state
	 */
	#set(picture, state) {
		if (picture.state === state && state !== "uploading") return;
		picture.state = state;
		if (this.queue.pictures.includes(picture)) this.queue.changed(picture);
	}

	#store() {
		const ids = this.jobs.map(({ id }) => id).filter(Boolean);
		storage("sessionStorage")?.setItem(STORED, JSON.stringify(ids));
	}

	/** @param {Job} job */
	#changed(job) {
		this.dispatchEvent(new CustomEvent("change", { detail: job }));
	}
}

/** @returns {string[]} */
function stored() {
	return JSON.parse(storage("sessionStorage")?.getItem(STORED) ?? "[]");
}

/** @param {Picture} picture of a file */
function sizeOf({ source }) {
	return /** @type {File} */ (source).size + PART_BYTES;
}

/** @param {Failure} failure */
function isKey({ code }) {
	return code === "AUTH_REQUIRED" || code === "AUTH_FAILED";
}

/**
 * Return a function that reads once; a failure is not kept.
 * @param {() => Promise<Blob>} read
 */
function once(read) {
	/** @type {Promise<Blob> | null} */
	let kept = null;
	return () => {
		kept ??= read().catch((error) => {
			kept = null;
			throw error;
		});
		return kept;
	};
}
