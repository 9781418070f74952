/** API key and rate limit of this visitor. */
import { block, button, element, input, storage } from "./dom.js";

const KEY_NAME = "background-remover-key";

/**
 * Show what is left of the limit, and ask for a key when one is needed.
 * @param {import("./service.js").Service} service
 * @param {import("./pictures.js").Queue} queue
 * @param {boolean} needsKey
 */
export function initAccess(service, queue, needsKey) {
	const dialog = element("key-dialog", HTMLDialogElement);
	service.key = storage("localStorage")?.getItem(KEY_NAME) ?? "";
	button("key-button").hidden = !needsKey;

	service.addEventListener("allowance", () => {
		const { remaining, limit, reset } = /** @type {import("./service.js").Allowance} */ (service.allowance);
		const time = new Date(reset * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
		block("limit").hidden = false;
		block("limit").textContent = `${remaining} of ${limit} left until ${time}`;
	});

	queue.addEventListener("key", (event) =>
		askForKey(/** @type {CustomEvent<import("./service.js").Failure>} */ (event).detail.code === "AUTH_FAILED"),
	);
	button("key-button").addEventListener("click", () => askForKey(false));

	/** @param {boolean} wrong */
	function askForKey(wrong) {
		block("key-problem").hidden = !wrong;
		block("key-problem").textContent = wrong ? "The key was not accepted." : "";
		button("key-button").hidden = false;
		if (!dialog.open) dialog.showModal();
	}

	dialog.addEventListener("close", () => {
		if (dialog.returnValue !== "save") return;
		service.key = input("key-field").value.trim();
		if (input("key-keep").checked) storage("localStorage")?.setItem(KEY_NAME, service.key);
		else storage("localStorage")?.removeItem(KEY_NAME);
		input("key-field").value = "";
		queue.resume();
	});
}
