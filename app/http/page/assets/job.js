/** Job: many pictures in one upload. */
import { countsOf } from "./pictures.js";

/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {import("./service.js").Failure} Failure */
/** @typedef {"queued" | "uploading" | "running" | "done" | "cancelled"} State */

export class Job {
	/**
	 * @param {Picture[]} pictures those of a job from before a reload are added by its first event
	 * @param {string} [id]
	 */
	constructor(pictures, id = "") {
		this.pictures = pictures;
		for (const picture of pictures) picture.job = this;
		/** Empty until it is uploaded. */
		this.id = id;
		this.idempotencyKey = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
			byte.toString(16).padStart(2, "0"),
		).join("");
		/** @type {State} */
		this.state = "queued";
		this.uploaded = 0;
		/** @type {number | null} */
		this.secondsLeft = null;
		/** Address of the ZIP. */
		this.results = "";
		/** Cause of a pause. @type {Failure | null} */
		this.failure = null;
		/** Time of the next try, ms since the epoch; 0: none planned. */
		this.retryAt = 0;
		/** End a pause. */
		this.wake = () => {};
		this.abort = new AbortController();
	}

	get ended() {
		return this.state === "done" || this.state === "cancelled";
	}

	/** Numbers of its pictures by state. */
	get counts() {
		return countsOf(this.pictures);
	}

	/** Pictures that it processes; one that is tried again is sent by itself. */
	get own() {
		return this.pictures.filter(({ job }) => job === this);
	}

	get unfinished() {
		return this.own.filter(({ state }) => state !== "done" && state !== "failed");
	}
}
