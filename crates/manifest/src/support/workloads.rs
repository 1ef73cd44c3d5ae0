//! What of the workload kinds this version runs: a row for every field of their specs, as data. Their Pod templates are
//! what the table of Pods says.

use super::{Checked, Done, NoMeaning, Refused, Row, Values, Verdict, Walk, line, pod_at, row};
use crate::field::{FieldErrors, Path};
use crate::tree::Node;
use crate::validate::Workload;
use crate::workloads::{self, MAX_PODS};
use k8s_openapi::api::core::v1::Pod;
use std::collections::HashSet;

const TEMPLATE: &str = "as a Pod";
const NO_CONTROLLER: &str = "nothing is rolled out: a changed file is run after `rhizome rm --file`";
const HISTORY: &str = "there is no history";
const SELECTOR: &str = "validated; nobody looks for Pods by it";

const DAEMON_SET: &[Row] = &[
    row("spec.selector", Done, SELECTOR),
    row("spec.template", Checked, TEMPLATE),
    row("spec.updateStrategy", NoMeaning, NO_CONTROLLER),
    row("spec.minReadySeconds", NoMeaning, ""),
    row("spec.revisionHistoryLimit", NoMeaning, HISTORY),
];

const DEPLOYMENT: &[Row] = &[
    row("spec.replicas", Done, ""),
    row("spec.selector", Done, SELECTOR),
    row("spec.template", Checked, TEMPLATE),
    row("spec.strategy", NoMeaning, NO_CONTROLLER),
    row("spec.minReadySeconds", NoMeaning, ""),
    row("spec.revisionHistoryLimit", NoMeaning, HISTORY),
    row("spec.paused", NoMeaning, NO_CONTROLLER),
    row("spec.progressDeadlineSeconds", NoMeaning, ""),
];

const REPLICA_SET: &[Row] = &[
    row("spec.replicas", Done, ""),
    row("spec.minReadySeconds", NoMeaning, ""),
    row("spec.selector", Done, SELECTOR),
    row("spec.template", Checked, TEMPLATE),
];

const STATEFUL_SET: &[Row] = &[
    row("spec.replicas", Done, "they are started in order, none waits for the one before to be ready"),
    row("spec.selector", Done, SELECTOR),
    row("spec.template", Checked, TEMPLATE),
    row(
        "spec.volumeClaimTemplates",
        Done,
        "a claim NAME-POD for each Pod, which stays when the Pod is removed",
    ),
    row("spec.serviceName", Done, "the Pods' subdomain; there are no services"),
    row("spec.podManagementPolicy", NoMeaning, "they are started in order, without waiting"),
    row("spec.updateStrategy", NoMeaning, NO_CONTROLLER),
    row("spec.revisionHistoryLimit", NoMeaning, HISTORY),
    row("spec.minReadySeconds", NoMeaning, ""),
    row("spec.persistentVolumeClaimRetentionPolicy", NoMeaning, "claims are kept"),
    row("spec.ordinals", Done, ""),
];

const JOB: &[Row] = &[
    row(
        "spec.parallelism",
        Done,
        "so many Pods at one time, the others wait for their turn; without completions so many Pods that work on one queue",
    ),
    row("spec.completions", Done, "so many Pods, each of which has to end well"),
    row("spec.activeDeadlineSeconds", Done, "from the Job's start, its Pods' waits and tries included"),
    row("spec.podFailurePolicy", Refused, ""),
    row("spec.successPolicy", Refused, ""),
    row(
        "spec.backoffLimit",
        Done,
        "a Pod that failed is started again, the same Pod, after 10 s, 20 s, … 10 min; with restartPolicy OnFailure its containers are. One failure more than this ends the Job: all its Pods",
    ),
    row("spec.backoffLimitPerIndex", Done, "likewise, of each Pod; the others go on"),
    row("spec.maxFailedIndexes", Refused, ""),
    row("spec.selector", NoMeaning, "nobody looks for Pods by it"),
    row("spec.manualSelector", NoMeaning, "nobody looks for Pods by it"),
    row("spec.template", Checked, TEMPLATE),
    row("spec.ttlSecondsAfterFinished", NoMeaning, "a Job that has ended stays until it is removed"),
    row("spec.completionMode", Done, ""),
    row("spec.suspend", Values(&["false"]), ""),
    row("spec.podReplacementPolicy", NoMeaning, "a Pod is started again when it has ended"),
    row("spec.managedBy", Refused, ""),
];

/// Every kind that makes Pods here, with its API version, its schema's name and its rows.
const KINDS: [(&str, &str, &str, &[Row]); 5] = [
    ("DaemonSet", "apps/v1", "apps.DaemonSet", DAEMON_SET),
    ("Deployment", "apps/v1", "apps.Deployment", DEPLOYMENT),
    ("ReplicaSet", "apps/v1", "apps.ReplicaSet", REPLICA_SET),
    ("StatefulSet", "apps/v1", "apps.StatefulSet", STATEFUL_SET),
    ("Job", "batch/v1", "batch.Job", JOB),
];

/// What is said of a kind that is not run.
pub(crate) fn not_run(kind: &str) -> String {
    if kind == "CronJob" {
        return "CronJob is not supported: nothing here makes Pods by the clock. A Job of its jobTemplate runs; \
                let cron or a systemd timer run it"
            .to_owned();
    }
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    format!("{kind} is not supported yet by this version of rhizome, which runs Pod, {}", kinds.join(", "))
}

/// What of a workload is not supported, and what the user should know of the rest; as [`super::pod`].
pub(crate) fn workload(workload: &Workload, node: &Node, left_out: &HashSet<String>) -> Verdict {
    let root = Path::new("");
    let Some((.., rows)) = KINDS.iter().find(|(kind, ..)| *kind == workload.kind) else {
        let mut verdict = Verdict::default();
        verdict.errors.other(&root.child("kind"), &not_run(&workload.kind));
        return verdict;
    };
    let mut own = Walk::new(rows, &root, left_out);
    own.walk(node, "", &root);
    let (mut verdict, mut fields) = own.end();
    misplaced_annotations(workload, &mut verdict.errors);
    let path = Path::new("spec").child("volumeClaimTemplates");
    for (index, claim) in workload.spec.volume_claim_templates.iter().flatten().enumerate() {
        // The API server looks at them when it is to make the claims, which then fails.
        let (path, none) = (path.index(index), Default::default());
        let spec = claim.spec.as_ref().unwrap_or(&none);
        crate::validate::claim_spec(&mut verdict.errors, &path.child("spec"), spec);
    }
    count(workload, &mut verdict);
    if let Some(template_node) = node.find("spec.template") {
        let template = &workload.spec.template;
        let metadata = template.metadata.clone().unwrap_or_default();
        let pod = Pod { metadata, spec: template.spec.clone(), status: None };
        let base = Path::new("spec").child("template");
        let (of_pod, more) = pod_at(&base, &pod, template_node, left_out);
        verdict.errors.list.extend(of_pod.errors.list);
        verdict.remarks.extend(of_pod.remarks);
        fields.extend(more);
    }
    verdict.no_meaning(fields);
    verdict
}

/// The annotations that have a meaning here have it on Pods.
fn misplaced_annotations(workload: &Workload, errors: &mut FieldErrors) {
    let path = Path::new("metadata").child("annotations");
    for key in workload.metadata.annotations.iter().flatten().map(|(key, _)| key) {
        if key.starts_with("rhizome.dev/") && key != crate::annotations::IGNORE {
            errors.other(&path.key(key), "belongs to the Pods: spec.template.metadata.annotations");
        }
    }
}

fn count(workload: &Workload, verdict: &mut Verdict) {
    let count = workloads::count(workload);
    if count > MAX_PODS {
        let field = if workload.kind == "Job" { "completions" } else { "replicas" };
        let text =
            format!("{count} Pods are more than this version of rhizome runs of one workload ({MAX_PODS})");
        verdict.errors.other(&Path::new("spec").child(field), &text);
    }
}

/// The tables as the page docs/reference/workload-fields.md.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(
        "# Fields of the kinds that make Pods\n\n\
         Written from the tables in `crates/manifest/src/support/workloads.rs`, and checked by a test: `RHIZOME_BLESS=1 cargo test -p manifest` writes it anew.\n\n\
         Their Pods are made at once and run on this machine; nothing watches them but the Pods' own supervisors. What a template may say is on the page of [a Pod's fields](pod-fields.md). \
         The guide [Workloads](../guides/workloads.md) tells how the Pods are named and found.\n",
    );
    for (kind, api_version, _, rows) in KINDS {
        text.push_str(&format!("\n## {kind} ({api_version})\n\n| field | | remark |\n| --- | --- | --- |\n"));
        rows.iter().for_each(|row| text.push_str(&line(row)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, Type};
    use crate::{Options, Source, load};

    #[test]
    fn every_field_of_a_workload_has_a_row_and_every_row_a_field() {
        for (kind, _, name, rows) in KINDS {
            let spec = schema::find(name).unwrap().field("spec").unwrap();
            let Type::Struct(spec) = spec.ty else { panic!("{kind}") };
            let mut fields: Vec<String> =
                schema::find(spec).unwrap().fields.iter().map(|f| format!("spec.{}", f.name)).collect();
            let mut rows: Vec<&str> = rows.iter().map(|row| row.path).collect();
            fields.sort();
            rows.sort_unstable();
            assert_eq!(rows, fields, "{kind}");
        }
    }

    fn said(kind: &str, spec: &str) -> Vec<String> {
        let group = if kind == "Job" { "batch" } else { "apps" };
        let policy = if kind == "Job" { "Never" } else { "Always" };
        let selector = if kind == "Job" { "" } else { "selector: {matchLabels: {a: b}}," };
        let text = format!(
            "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: w}}\nspec: {{{selector} {spec}, template: {{metadata: {{labels: {{a: b}}}}, \
             spec: {{restartPolicy: {policy}, runtimeClassName: x, nodeSelector: {{a: b}}, containers: [{{name: c, image: i}}]}}}}}}\n"
        );
        match load(&[Source { name: "f", bytes: text.as_bytes() }], &Options::default()) {
            Ok(loaded) => loaded.notes.iter().map(ToString::to_string).collect(),
            Err(problems) => problems.into_iter().map(|problem| problem.message).collect(),
        }
    }

    #[test]
    fn what_is_not_done_is_refused_where_it_stands() {
        let refused = said("Job", "managedBy: a/b, suspend: true");
        assert!(refused[0].starts_with("spec.managedBy: not supported yet"), "{refused:?}");
        assert!(refused[1].starts_with("spec.suspend: \"true\" is not supported yet"), "{refused:?}");
        assert!(
            refused[2].starts_with("spec.template.spec.runtimeClassName: not supported yet"),
            "{refused:?}"
        );
        let many = said("Deployment", "replicas: 2000000000");
        assert!(many[0].starts_with("spec.replicas: 2000000000 Pods are more than"), "{many:?}");
    }
}
