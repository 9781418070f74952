/** Toolbar popup: takes one picture and opens a result tab. */
import { openResult } from "./handover.js";
import { block, button, input } from "./shared/dom.js";

/** @param {Iterable<File> | null | undefined} files */
async function add(files) {
	const [file] = files ?? [];
	if (!file) {
		block("notice").textContent = "This is not a picture file.";
		return;
	}
	await openResult(file);
	window.close();
}

input("file").addEventListener("change", () => add(input("file").files));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
	event.preventDefault();
	add(event.dataTransfer?.files);
});
addEventListener("paste", (event) => add(event.clipboardData?.files));
button("options").addEventListener("click", () => chrome.runtime.openOptionsPage());
