use super::*;
use crate::issue::IssueReason;

fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../manifests")
        .join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_sample_passes_alone_and_all_pass_together() {
    for file in manifests("samples") {
        let report = run(std::slice::from_ref(&file));
        assert!(!report.has_errors(), "{report}");
    }
    let report = run(&manifests("samples"));
    assert_eq!(report.findings, [], "{report}");
    assert!(report.chains >= 2 && report.selectors >= 2);
}

#[test]
fn every_bad_manifest_is_refused_with_field_and_mend() {
    for file in manifests("bad") {
        let report = run(std::slice::from_ref(&file));
        let errors: Vec<&Finding> = report
            .findings
            .iter()
            .filter(|finding| finding.issue.is_error())
            .collect();
        assert!(!errors.is_empty(), "{} passes", file.display());
        for Finding { issue, .. } in errors {
            assert!(!issue.field.is_empty() && !issue.mend.is_empty(), "{issue}");
        }
    }
}

#[test]
fn the_published_slips_are_mended_with_the_users_own_keys() {
    let lines: String = manifests("bad")
        .iter()
        .map(|file| run(std::slice::from_ref(file)).to_string())
        .collect();
    for mend in [
        "spec.subject.pods.podSelector.app: unknown field; \
         write it as podSelector: {matchLabels: {app: firewall}}",
        "write it as namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: firewall}}",
        "spec.egress.ports[0].protocol: unknown field; write allPorts: {protocol: UDP}",
    ] {
        assert!(lines.contains(mend), "{mend} is not in:\n{lines}");
    }
}

fn chain(name: &str) -> String {
    format!(
        "apiVersion: networking.gke.io/v1\nkind: ServiceFunctionChain\nmetadata: {{name: {name}}}\n\
         spec: {{serviceFunctions: [{{name: f, namespace: fw, podSelector: {{matchLabels: {{app: fw}}}}}}]}}\n---\n"
    )
}

fn selector(name: &str, chain: &str) -> String {
    format!(
        "apiVersion: networking.gke.io/v1\nkind: TrafficSelector\nmetadata: {{name: {name}}}\n\
         spec:\n  serviceFunctionChain: {chain}\n\
         \x20 subject: {{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: vpn}}}}}}}}\n\
         \x20 egress: {{ports: [{{allPorts: {{protocol: TCP}}}}]}}\n---\n"
    )
}

fn pod(labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p-{labels}, namespace: vpn, labels: {{app: {labels}}}}}\n---\n"
    )
}

#[test]
fn what_shows_only_across_the_set_is_found() {
    for (set, reason, is_error, piece) in [
        (
            selector("s", "gone"),
            IssueReason::ChainNotFound,
            false,
            "create ServiceFunctionChain gone",
        ),
        (
            chain("a") + &chain("a"),
            IssueReason::Duplicate,
            true,
            "given twice",
        ),
        (
            chain("a") + &chain("b") + &selector("loser", "b") + &selector("winner", "a"),
            IssueReason::Conflict,
            false,
            "TrafficSelector/loser: spec.egress: TrafficSelector/winner",
        ),
        (
            chain("a") + &pod("x"),
            IssueReason::NoMatchingPods,
            false,
            "serviceFunctions[0].podSelector",
        ),
        (
            chain("a") + &selector("s", "a") + &pod("x"),
            IssueReason::NoMatchingPods,
            false,
            "spec.subject.pods: matches no pod",
        ),
        (
            selector("s", "a").replace("kind: TrafficSelector", "kind: TrafficSelectors"),
            IssueReason::UnknownKind,
            false,
            "write kind: TrafficSelector",
        ),
        (
            selector("s", "a").replace("gke.io/v1", "gke.io/v1beta1"),
            IssueReason::UnknownKind,
            false,
            "write apiVersion: networking.gke.io/v1",
        ),
        ("a: [".to_owned(), IssueReason::Unreadable, true, "line "),
        (
            "a: 1\na: 2".to_owned(),
            IssueReason::Duplicate,
            true,
            "line ",
        ),
    ] {
        let report = text("set.yaml", &set);
        let hit = report.findings.iter().any(|Finding { file, issue }| {
            issue.reason == reason
                && issue.is_error() == is_error
                && issue.to_string().contains(piece)
                && file == Path::new("set.yaml")
        });
        assert!(hit, "no {reason} with {piece:?} in:\n{report}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_finding() {
    let report = run(&[PathBuf::from("/nonexistent.yaml")]);
    assert!(report.has_errors(), "{report}");
}
