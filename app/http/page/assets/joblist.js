/** List of the jobs that are not finished. */
import { button, text } from "./cards.js";
import { stateOfJob } from "./words.js";

/** @typedef {import("./job.js").Job} Job */

/**
 * @param {HTMLElement} list
 * @param {import("./jobs.js").Jobs} jobs
 */
export function initJobList(list, jobs) {
	/** @type {Map<Job, HTMLElement>} */
	const lines = new Map();

	jobs.addEventListener("change", (event) => update(/** @type {CustomEvent<Job>} */ (event).detail));
	setInterval(() => {
		for (const job of lines.keys()) if (job.retryAt) update(job);
	}, 1000);

	/** @param {Job} job */
	function update(job) {
		if (job.state === "done" || !jobs.jobs.includes(job)) {
			lines.get(job)?.remove();
			lines.delete(job);
			return;
		}
		const line = lines.get(job) ?? add(job);
		const { done, failed } = job.counts;
		const [label, progress, now, cancel] = /** @type {any} */ (line.children);
		label.textContent = stateOfJob(job);
		progress.value = job.state === "uploading" ? job.uploaded : (done + failed) / (job.pictures.length || 1);
		now.hidden = !job.retryAt;
		cancel.hidden = job.state === "cancelled";
	}

	/** @param {Job} job */
	function add(job) {
		const line = document.createElement("li");
		line.className = "job";
		const progress = document.createElement("progress");
		progress.setAttribute("aria-label", "Progress of the job");
		line.append(
			text("job-state", ""),
			progress,
			button("button small", "Try now", () => job.wake()),
			button("button small", "Cancel", () => jobs.cancel(job)),
		);
		lines.set(job, line);
		list.append(line);
		return line;
	}
}
