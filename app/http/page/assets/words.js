/** Texts for errors of the service: what happened, and what to do. */

/** @type {Record<string, [string, string]>} */
const TEXTS = {
	CORRUPT_IMAGE: ["The file is damaged", "Open it in another program, save it again, and try that copy."],
	UNSUPPORTED_FORMAT: ["This is not a picture that can be read", "Use a JPEG, PNG, WebP, HEIC, AVIF or TIFF file."],
	EMPTY_FILE: ["The file is empty", "Choose another file."],
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
