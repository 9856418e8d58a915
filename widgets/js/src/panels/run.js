import { about, duration } from "../formatting.js";
import { html, Section, useEffect, useState } from "../ui.js";

// Counts on between two reports, which some stages send rarely.
/** @param {{ job: View.JobLine }} props */
const Clock = ({ job }) => {
  const [more, setMore] = useState(0);
  useEffect(() => {
    setMore(0);
    if (!job.active) return undefined;
    const timer = setInterval(() => setMore((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [job.seconds, job.active]);
  const left = job.left === null || job.left < more ? "" : `, ${about(job.left - more)} left`;
  return html`<span class="wb-muted wb-num t-clock">${job.active ? "" : `${job.stage}, `}${duration(job.seconds + more)}${left}</span>`;
};

/** @param {{ lines: string[] }} props */
const Details = ({ lines }) => html`
  <details class="wb-details t-details">
    <summary>Details, for a report</summary>
    <pre tabindex="0">${lines.join("\n")}</pre>
  </details>`;

/** @param {{ job: View.JobLine, send: Send, stop?: string }} props */
export const JobLine = ({ job, send, stop = "Cancel" }) => html`
  <li class="wb-job wb-job-${job.state} t-job" data-state=${job.state}>
    <div class="wb-job-head">
      <b>${job.name}</b>
      <${Clock} job=${job} />
      ${job.active &&
      html`<button type="button" class="wb-small t-cancel" onClick=${() => send("cancel", { job: job.id })}>${stop}</button>`}
    </div>
    ${job.active &&
    html`<div
      class="wb-progress"
      role="progressbar"
      aria-label=${job.name}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${job.percent}
      aria-valuetext="${job.percent} %, ${job.stage}"
    >
      <i style="width:${job.percent}%"></i>
    </div>`}
    ${job.active && html`<p class="wb-help">${job.stage}</p>`}
    ${job.details.length > 0 && html`<${Details} lines=${job.details} />`}
  </li>`;

/** @param {Props<"run">} props */
export const Run = ({ view, send }) => html`
  <${Section} label="Run">
    <button type="button" class="wb-primary t-run" title=${view.label} disabled=${!view.enabled} onClick=${() => send("run")}>${view.label}</button>
    <p class="wb-help">${view.note}</p>
    ${view.jobs.length > 0 &&
    html`<ul class="wb-jobs">${view.jobs.map((job) => html`<${JobLine} key=${job.id} job=${job} send=${send} />`)}</ul>`}
  <//>`;
