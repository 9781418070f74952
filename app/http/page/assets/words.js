/** Texts for states, and for errors of the service: what happened, and what to do. */

/** States of pictures and jobs, in the words of the API. @type {Record<string, string>} */
const STATES = {
	queued: "Queued",
	uploading: "Uploading",
	running: "Running",
	done: "Done",
	failed: "Failed",
	cancelled: "Cancelled",
};

/** @type {Record<string, [string, string]>} */
const TEXTS = {
	CORRUPT_IMAGE: ["The file is damaged", "Open it in another program, save it again, and try that copy."],
	UNSUPPORTED_FORMAT: ["This is not a picture that can be read", "Use a JPEG, PNG, WebP, HEIC, AVIF or TIFF file."],
	EMPTY_FILE: ["The file is empty", "Choose another file."],
	UNREADABLE_FILE: [
		"The file can't be read",
		"It may be a folder, or it was moved or changed. Choose the picture again.",
	],
	FILE_TOO_LARGE: ["The file is too large", "Save it smaller, and try again."],
	TOO_MANY_PIXELS: ["The picture has too many pixels", "Save it smaller, and try again."],
	OUT_OF_MEMORY: ["The picture is too large for this server", "Save it smaller, and try again."],
	IMAGE_REFUSED: ["This picture can't be processed", "Save it in another format, and try again."],
	AUTH_REQUIRED: ["An API key is needed", "Enter the key that the operator of this server gave you."],
	AUTH_FAILED: ["The API key is wrong", "Check the key, and enter it again."],
	RATE_LIMITED: ["Your limit is used up", "The picture is sent when the limit allows it again."],
	QUEUE_FULL: ["The server is busy", "The picture is sent again in a moment."],
	SHUTTING_DOWN: ["The server restarts", "The picture is sent again in a moment."],
	UNAVAILABLE: ["The server is busy", "The picture is sent again in a moment."],
	JOBS_UNAVAILABLE: ["The server is busy", "The state of the pictures is read again in a moment."],
	JOB_GONE: ["The server has deleted this job", "Try again to send the picture anew."],
	BAD_GATEWAY: ["The server restarts", "The picture is sent again in a moment."],
	MODEL_UNAVAILABLE: [
		"The model can't be used at present",
		"Choose another model, or tell the operator of this server.",
	],
	DEADLINE_EXCEEDED: ["It took too long", "Try again, with “Clean edges” or a smaller picture."],
	REQUEST_TIMEOUT: ["The upload took too long", "Check the connection, and try again."],
	INVALID_URL: ["The address can't be used", "Use the public address of a picture, beginning with https://."],
	DOWNLOAD_FAILED: ["The picture can't be fetched", "Check the address, or save the picture and choose the file."],
	OFFLINE: ["You are offline", "The picture is sent when the connection is back."],
	UNREACHABLE: ["The server doesn't answer", "The picture is sent when it does."],
};

/**
 * @param {import("./service.js").Failure} failure
 * @returns {{title: string, advice: string}}
 */
export function explain(failure) {
	const [title, advice] = TEXTS[failure.code] ?? [
		failure.message || "Something went wrong",
		failure.solution || "Try again.",
	];
	return { title, advice };
}

/** @param {import("./pictures.js").Picture} picture */
export function stateOf({ state, uploaded, failure, retryAt }) {
	if (state === "uploading") return `${STATES.uploading}, ${Math.round(uploaded * 100)} %`;
	if (!failure) return STATES[state] ?? "";
	const { title } = explain(failure);
	return state === "paused" && retryAt ? `${title}. ${nextTry(retryAt)}` : title;
}

/** @param {import("./job.js").Job} job */
export function stateOfJob({ state, uploaded, failure, retryAt, pictures, counts, secondsLeft }) {
	const all = `${pictures.length} pictures`;
	if (failure) return `${all}: ${explain(failure).title}. ${retryAt ? nextTry(retryAt) : ""}`;
	if (state === "uploading") return `${STATES.uploading} ${all}, ${Math.round(uploaded * 100)} %`;
	if (state === "queued") return `${STATES.queued}: ${all}`;
	if (state === "cancelled") return `${STATES.cancelled}; ${counts.done} results are kept…`;
	return secondsLeft === null ? progress(counts) : `${progress(counts)}, ${countdown(secondsLeft)} left`;
}

/**
 * Return the progress in the words of the command line.
 * @param {Record<string, number>} counts by state
 */
export function progress({ done = 0, failed = 0, cancelled = 0, ...others }) {
	const all = Object.values(others).reduce((sum, count) => sum + count, done + failed + cancelled);
	return [`${done} of ${all} done`, failed && `${failed} failed`, cancelled && `${cancelled} cancelled`]
		.filter(Boolean)
		.join(", ");
}

/** @param {number} at ms since the epoch */
function nextTry(at) {
	return `Next try in ${countdown((at - Date.now()) / 1000)}`;
}

/** @param {number} bytes */
export function weight(bytes) {
	return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {number} seconds */
export function countdown(seconds) {
	const whole = Math.max(0, Math.ceil(seconds));
	if (whole < 60) return `${whole} s`;
	return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}
