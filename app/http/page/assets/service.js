/** Requests to the service. */

/** @typedef {{top: number, left: number, width: number, height: number}} Box */
/** @typedef {{blob: Blob, model: string, box: Box}} Answer */
/** @typedef {{model: string, refine: string}} CutOptions */
/** @typedef {{limit: number, remaining: number, reset: number}} Allowance */

/** Failed request, with the service's error code or one of this page's own: OFFLINE, UNREACHABLE. */
export class Failure extends Error {
	/**
	 * @param {string} code
	 * @param {{message?: string, solution?: string, retryAfter?: number | null}} [more]
	 */
	constructor(code, more = {}) {
		super(more.message ?? "");
		this.code = code;
		this.solution = more.solution ?? "";
		/** Seconds until a retry makes sense; null if it never does without a change. */
		this.retryAfter = more.retryAfter ?? null;
	}
}

/** Codes whose cause goes away by itself, with seconds to wait where the answer has no Retry-After. */
const TRANSIENT = new Map([
	["RATE_LIMITED", 60],
	["QUEUE_FULL", 3],
	["SHUTTING_DOWN", 3],
	["UNAVAILABLE", 3],
	["BAD_GATEWAY", 3],
	["UNREACHABLE", 3],
	["OFFLINE", 3],
]);

export class Service extends EventTarget {
	constructor() {
		super();
		this.key = "";
		/** @type {Allowance | null} */
		this.allowance = null;
	}

	/**
	 * Send a picture, and return its cut-out as PNG.
	 * @param {File | string} source a file, or the address of a picture
	 * @param {CutOptions} options
	 * @param {(share: number) => void} onUpload called with the uploaded share, 0 to 1
	 * @param {AbortSignal} signal
	 * @returns {Promise<Answer>}
	 */
	remove(source, options, onUpload, signal) {
		const form = new FormData();
		if (typeof source === "string") {
			form.append("image_url", source);
			form.append("size", "full");
			form.append("format", "png");
			return this.#send("/v1.0/removebg", form, onUpload, signal);
		}
		form.append("format", "PNG");
		form.append("model", options.model);
		form.append("refine", options.refine);
		form.append("file", source, source.name || "picture");
		return this.#send("/remove-background", form, onUpload, signal);
	}

	/**
	 * @param {string} path
	 * @param {FormData} form
	 * @param {(share: number) => void} onUpload
	 * @param {AbortSignal} signal
	 * @returns {Promise<Answer>}
	 */
	#send(path, form, onUpload, signal) {
		return new Promise((resolve, reject) => {
			const request = new XMLHttpRequest();
			request.open("POST", path);
			request.responseType = "blob";
			if (this.key) request.setRequestHeader("X-Api-Key", this.key);
			request.upload.onprogress = (event) => event.lengthComputable && onUpload(event.loaded / event.total);
			request.onload = () => {
				this.#readAllowance(request);
				if (request.status === 200) resolve(answerOf(request));
				else failureOf(request).then(reject, reject);
			};
			request.onerror = () => reject(new Failure(navigator.onLine ? "UNREACHABLE" : "OFFLINE", { retryAfter: 3 }));
			request.onabort = () => reject(signal.reason);
			signal.addEventListener("abort", () => request.abort(), { once: true });
			request.send(form);
		});
	}

	/** @param {XMLHttpRequest} request */
	#readAllowance(request) {
		const limit = Number(request.getResponseHeader("X-RateLimit-Limit"));
		if (!limit) return;
		this.allowance = {
			limit,
			remaining: Number(request.getResponseHeader("X-RateLimit-Remaining")),
			reset: Number(request.getResponseHeader("X-RateLimit-Reset")),
		};
		this.dispatchEvent(new Event("allowance"));
	}
}

/**
 * @param {XMLHttpRequest} request
 * @returns {Answer}
 */
function answerOf(request) {
	/** @param {string} side */
	const pixels = (side) => Number(request.getResponseHeader(`X-Foreground-${side}`) ?? 0);
	return {
		blob: request.response,
		model: request.getResponseHeader("X-Model") ?? "",
		box: { top: pixels("Top"), left: pixels("Left"), width: pixels("Width"), height: pixels("Height") },
	};
}

/**
 * @param {XMLHttpRequest} request
 * @returns {Promise<Failure>}
 */
async function failureOf(request) {
	return failureFrom(request.status, request.getResponseHeader("Retry-After"), await request.response.text());
}

/**
 * Return the error in an answer.
 * @param {number} status
 * @param {string | null} retryAfter
 * @param {string} text
 */
export function failureFrom(status, retryAfter, text) {
	const body = bodyOf(text);
	const code = body.code ?? (status === 413 ? "FILE_TOO_LARGE" : status >= 502 ? "BAD_GATEWAY" : "INTERNAL");
	return new Failure(code, {
		message: body.message,
		solution: body.solution,
		retryAfter: TRANSIENT.has(code) ? Number(retryAfter) || TRANSIENT.get(code) : null,
	});
}

/**
 * Return the error in JSON; remove.bg's dialect has its own shape.
 * @param {string} text
 * @returns {{code?: string, message?: string, solution?: string}}
 */
function bodyOf(text) {
	try {
		const body = JSON.parse(text);
		return body.errors ? { code: body.errors[0].code?.toUpperCase(), message: body.errors[0].title } : body;
	} catch {
		return {};
	}
}
