/** Ways in: files, camera, sample, address, drop and paste. */
import { block, button, input } from "./dom.js";

/** @param {(sources: (File | string)[]) => void} add called with files, or with the address of a picture */
export function initIntake(add) {
	/** @param {HTMLInputElement} field */
	const takeFrom = (field) => {
		add([...(field.files ?? [])]);
		field.value = ""; // the same file may be chosen again
	};

	input("files").addEventListener("change", () => takeFrom(input("files")));
	input("camera").addEventListener("change", () => takeFrom(input("camera")));

	button("sample").addEventListener("click", async () => {
		const address = /** @type {HTMLImageElement} */ (button("sample").querySelector("img")).src;
		const blob = await (await fetch(address)).blob();
		add([new File([blob], "sample.jpg", { type: blob.type })]);
	});

	block("address").addEventListener("submit", (event) => {
		event.preventDefault();
		add([input("address-field").value]);
		input("address-field").value = "";
	});

	let dragDepth = 0;
	addEventListener("dragenter", (event) => {
		if (!event.dataTransfer?.types.includes("Files")) return;
		event.preventDefault();
		dragDepth++;
		block("veil").hidden = false;
	});
	addEventListener("dragover", (event) => event.preventDefault());
	addEventListener("dragleave", () => {
		dragDepth = Math.max(0, dragDepth - 1);
		block("veil").hidden = dragDepth === 0;
	});
	addEventListener("drop", (event) => {
		event.preventDefault();
		dragDepth = 0;
		block("veil").hidden = true;
		add([...(event.dataTransfer?.files ?? [])]);
	});
	addEventListener("paste", (event) => add([...(event.clipboardData?.files ?? [])]));
}
