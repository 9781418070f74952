/** Requests to the service. */

/** @typedef {{top: number, left: number, width: number, height: number}} Box */
/** @typedef {{model: string, refine: string, size: string}} CutOptions size: "full", or "" for the server's bound */
/** @typedef {{limit: number, remaining: number, reset: number}} Allowance */
/** @typedef {{code: string, message?: string, solution?: string}} Problem */
/** @typedef {{number: number, name: string, state: "queued" | "running" | "done" | "failed", error: Problem | null, results: {link: string}[]}} Item */
/** @typedef {{id: string, state: "queued" | "running" | "done" | "cancelled", seconds_left: number | null, links: {results: string}, items: Item[]}} JobAnswer */
/** @typedef {{headers?: Record<string, string>, signal?: AbortSignal, onUpload?: (share: number) => void}} Sending */

/** Failed request, with the service's error code or one of this page's own: OFFLINE, UNREACHABLE, UNREADABLE_FILE. */
export class Failure extends Error {
	/**
	 * @param {string} code
	 * @param {{message?: string, solution?: string, retryAfter?: number | null, remaining?: number, files?: File[]}} [more]
	 */
	constructor(code, more = {}) {
		super(more.message ?? "");
		this.code = code;
		this.solution = more.solution ?? "";
		/** Seconds until a retry makes sense; null if it never does without a change. */
		this.retryAfter = more.retryAfter ?? null;
		/** Pictures that the rate limit allows now. */
		this.remaining = more.remaining ?? 0;
		/** Files that the browser can't read. */
		this.files = more.files ?? [];
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

/** Milliseconds after which a silent stream of events is lost; a quiet server sends a comment every 15 seconds. */
const MAX_SILENCE = 45_000;

export class Service extends EventTarget {
	constructor() {
		super();
		this.key = "";
		/** @type {Allowance | null} */
		this.allowance = null;
		/** What the last answer to a job said of its limit, for a key. @type {Allowance & {key: string} | null} */
		this.jobAllowance = null;
	}

	/**
	 * Send a picture, and return its cut-out as PNG.
	 * @param {File | string} source a file, or the address of a picture
	 * @param {CutOptions} options
	 * @param {(share: number) => void} onUpload called with the uploaded share, 0 to 1
	 * @param {AbortSignal} signal
	 */
	async remove(source, options, onUpload, signal) {
		const isAddress = typeof source === "string";
		const form = isAddress ? formOf({ image_url: source, size: "full", format: "png" }) : formOf(cutFields(options));
		if (!isAddress) form.append("file", source, source.name || "picture");
		const path = isAddress ? "/v1.0/removebg" : "/remove-background";
		const request = await this.#send(path, form, { onUpload, signal }, isAddress ? [] : [source]);
		return /** @type {Blob} */ (request.response);
	}

	/**
	 * Send pictures as a job.
	 * @param {File[]} files
	 * @param {CutOptions} options
	 * @param {string} key the same for each try, so that one job results
	 * @param {(share: number) => void} onUpload
	 * @param {AbortSignal} signal
	 * @returns {Promise<JobAnswer>}
	 */
	async createJob(files, options, key, onUpload, signal) {
		this.#checkJobAllowance(files.length);
		const form = formOf(cutFields(options));
		for (const file of files) form.append("file", file, file.name || "picture");
		const headers = { "Idempotency-Key": key };
		const request = await this.#send(`/jobs?files=${files.length}`, form, { headers, onUpload, signal }, files);
		return JSON.parse(await request.response.text());
	}

	/**
	 * Refuse a job that exceeds what was left of the limit: browsers show a refusal only after the upload. The next try
	 * asks the server.
	 * @param {number} pictures
	 */
	#checkJobAllowance(pictures) {
		const known = this.jobAllowance;
		this.jobAllowance = null;
		if (known?.key !== this.key || known.remaining >= pictures) return;
		const retryAfter = Math.ceil(known.reset - Date.now() / 1000);
		if (retryAfter > 0) throw new Failure("RATE_LIMITED", { retryAfter, remaining: known.remaining });
	}

	/**
	 * Yield a job whenever it changes, with the changed items; all items at first. End with the connection.
	 * @param {string} id
	 * @param {AbortSignal} signal
	 * @returns {AsyncGenerator<JobAnswer>}
	 */
	async *events(id, signal) {
		const silence = new AbortController();
		const wait = () => setTimeout(() => silence.abort(lost()), MAX_SILENCE);
		let timer = wait();
		const answer = await this.fetch(`/jobs/${id}/events`, { signal: AbortSignal.any([signal, silence.signal]) });
		const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
		const decoder = new TextDecoder();
		let text = "";
		for (;;) {
			const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
			clearTimeout(timer);
			if (done) return;
			timer = wait();
			const lines = (text + decoder.decode(value, { stream: true })).split("\n");
			text = lines.pop() ?? "";
			for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
		}
	}

	/**
	 * Return a successful answer.
	 * @param {string} path
	 * @param {RequestInit} [init]
	 */
	async fetch(path, init = {}) {
		const headers = this.#headers();
		const answer = await fetch(path, { ...init, headers }).catch((error) => {
			throw init.signal?.aborted ? error : lost();
		});
		if (!answer.ok) throw failureFrom(answer.status, answer.headers.get("Retry-After"), await answer.text());
		return answer;
	}

	/** @returns {Record<string, string>} */
	#headers() {
		return this.key ? { "X-Api-Key": this.key } : {};
	}

	/**
	 * @param {string} path
	 * @param {FormData} form
	 * @param {Sending} sending
	 * @param {File[]} files in the form
	 */
	async #send(path, form, sending, files) {
		const headers = { ...this.#headers(), ...sending.headers };
		const request = await post(path, form, { ...sending, headers }).catch(async (error) => {
			const unreadable = await unreadableOf(files);
			throw unreadable.length ? new Failure("UNREADABLE_FILE", { files: unreadable }) : error;
		});
		const limit = numberIn(request, "X-RateLimit-Limit");
		const remaining = numberIn(request, "X-RateLimit-Remaining");
		const allowance = { limit, remaining, reset: numberIn(request, "X-RateLimit-Reset") };
		if (limit && path.startsWith("/jobs")) this.jobAllowance = { ...allowance, key: this.key };
		else if (limit) {
			this.allowance = allowance;
			this.dispatchEvent(new Event("allowance"));
		}
		if (request.status >= 300) throw await failureOf(request, remaining);
		return request;
	}
}

/**
 * Send a body; fetch would not tell the progress of an upload.
 * @param {string} url
 * @param {FormData | string} body
 * @param {Sending} sending
 * @returns {Promise<XMLHttpRequest>} whose response is a Blob
 */
export function post(url, body, { headers = {}, signal, onUpload }) {
	return new Promise((resolve, reject) => {
		const request = new XMLHttpRequest();
		request.open("POST", url);
		request.responseType = "blob";
		for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
		request.upload.onprogress = (event) => event.lengthComputable && onUpload?.(event.loaded / event.total);
		request.onload = () => resolve(request);
		request.onerror = () => reject(lost());
		request.onabort = () => reject(signal?.reason);
		signal?.addEventListener("abort", () => request.abort(), { once: true });
		request.send(body);
	});
}

/**
 * Return the files that the browser can't read: folders, and files that were moved or changed since they were chosen.
 * @param {File[]} files
 */
async function unreadableOf(files) {
	const reads = await Promise.allSettled(files.map((file) => file.slice(0, 1).arrayBuffer()));
	return files.filter((_, index) => reads[index].status === "rejected");
}

/** Return the failure of a request without an answer. */
function lost() {
	return new Failure(navigator.onLine ? "UNREACHABLE" : "OFFLINE", { retryAfter: 3 });
}

/** @param {CutOptions} options */
function cutFields({ model, refine, size }) {
	return { format: "PNG", model, refine, full_size: String(size === "full") };
}

/** @param {Record<string, string>} fields */
function formOf(fields) {
	const form = new FormData();
	for (const [name, value] of Object.entries(fields)) form.append(name, value);
	return form;
}

/**
 * @param {XMLHttpRequest} request
 * @param {string} header
 */
function numberIn(request, header) {
	return Number(request.getResponseHeader(header) ?? 0);
}

/**
 * @param {XMLHttpRequest} request
 * @param {number} [remaining]
 */
export async function failureOf(request, remaining) {
	const text = await request.response.text();
	return failureFrom(request.status, request.getResponseHeader("Retry-After"), text, remaining);
}

/**
 * Return the error in an answer.
 * @param {number} status
 * @param {string | null} retryAfter
 * @param {string} text
 * @param {number} [remaining]
 */
export function failureFrom(status, retryAfter, text, remaining) {
	const body = bodyOf(text);
	const code = body.code ?? (status === 413 ? "FILE_TOO_LARGE" : status >= 502 ? "BAD_GATEWAY" : "INTERNAL");
	return new Failure(code, {
		message: body.message,
		solution: body.solution,
		retryAfter: TRANSIENT.has(code) ? Number(retryAfter) || TRANSIENT.get(code) : null,
		remaining,
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
