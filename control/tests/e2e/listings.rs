//! The command line against running agents, and what an agent refuses or reports.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xsteer_bench::testbed::{AgentConfig, PodConfig, Result, Testbed, TestbedConfig, wait_until};
use xsteer_bench::traffic::Endpoint;
use xsteer_control::admin::view::{FlowRow, PathRow, SelectRow};

use crate::scene::{Scene, WITHIN, XSTEER};
use crate::sink::Sink;

#[test]
fn listings_have_the_documented_columns_in_every_format() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    assert!(scene.is_proxy(sink.arrival(&client)));
    assert_paths(&scene)?;
    assert_selectors(&scene)?;
    assert_flows(&scene, &client)?;
    scene.assert_frames_conserved()
}

/// ```text
/// PATH     SERVICE FUNCTION ADDRESS
/// (1, 1)   10.4.10.124
/// ```
fn assert_paths(scene: &Scene) -> Result<()> {
    let list = |format| scene.agents[0].ask(&["sfcpath", "list", "-o", format]);
    let rows: Vec<PathRow> = serde_json::from_str(&list("json")?).expect("JSON");
    let ids: Vec<_> = rows
        .iter()
        .map(|row| (row.path, row.index, &*row.chain))
        .collect();
    assert_eq!(ids, [(1, 1, "firewall"), (2, 1, "proxy")]);
    let addresses: Vec<Ipv4Addr> = rows
        .iter()
        .map(|row| {
            row.address
                .as_deref()
                .expect("an address")
                .parse()
                .expect("IPv4")
        })
        .collect();
    assert!(
        addresses
            .iter()
            .all(|address| address.octets()[..2] == [10, 4]),
        "{addresses:?}"
    );
    assert_ne!(addresses[0], addresses[1]);
    let expected = format!(
        "PATH     SERVICE FUNCTION ADDRESS\n(1, 1)   {}\n(2, 1)   {}\n",
        addresses[0], addresses[1]
    );
    assert_eq!(list("table")?, expected);
    assert_eq!(scene.agents[0].ask(&["sfcpath", "list"])?, expected);
    let wide = list("wide")?;
    assert_eq!(
        words(&wide),
        [
            "PATH|SERVICE FUNCTION ADDRESS|CHAIN|FUNCTION|READY PODS".to_owned(),
            format!(
                "(1, 1)|{}|firewall|firewall|{}",
                addresses[0],
                on_all_nodes("firewall")
            ),
            format!(
                "(2, 1)|{}|proxy|proxy|{}",
                addresses[1],
                on_all_nodes("proxy")
            ),
        ]
    );
    assert_eq!(
        serde_yaml::from_str::<Vec<PathRow>>(&list("yaml")?).expect("YAML"),
        rows
    );
    Ok(())
}

/// ```text
/// SELECTOR                            PATH
/// 3783, egress, 0/TCP, 10.0.2.12/32   (1, 1)
/// ```
fn assert_selectors(scene: &Scene) -> Result<()> {
    let list = |format| scene.agents[0].ask(&["sfcselect", "list", "-o", format]);
    let rows: Vec<SelectRow> = serde_json::from_str(&list("json")?).expect("JSON");
    let endpoint = |pod: &str| {
        let ids: BTreeSet<u32> = rows
            .iter()
            .filter(|row| row.pod == pod)
            .map(|row| row.endpoint)
            .collect();
        assert_eq!(ids.len(), 1, "{pod}: {rows:?}");
        ids.into_iter().next().expect("one id")
    };
    let mut narrow = BTreeSet::new();
    let mut wide = BTreeSet::new();
    for (pod, path) in [("vpn/vpn", "(1, 1)"), ("firewall/firewall-n1", "(2, 1)")] {
        for protocol in ["UDP", "TCP"] {
            let row = format!("{}, egress, 0/{protocol}, 0.0.0.0/0|{path}", endpoint(pod));
            wide.insert(format!("{row}|{pod}|Closed"));
            narrow.insert(row);
        }
    }
    for (format, head, expected) in [
        ("table", "SELECTOR|PATH", narrow),
        ("wide", "SELECTOR|PATH|POD|POLICY", wide),
    ] {
        let printed = list(format)?;
        let lines = words(&printed);
        assert_eq!(lines[0], head);
        assert_eq!(lines.len() - 1, expected.len(), "{printed}");
        assert_eq!(
            lines[1..].iter().cloned().collect::<BTreeSet<_>>(),
            expected
        );
        assert_aligned(&printed);
    }
    assert_eq!(
        serde_yaml::from_str::<Vec<SelectRow>>(&list("yaml")?).expect("YAML"),
        rows
    );
    Ok(())
}

/// The client's flow is pinned to the firewall that has counted it, and leaves that with one hop less.
fn assert_flows(scene: &Scene, client: &Endpoint) -> Result<()> {
    let counted = scene.firewalls_of(client.address())?;
    let [firewall] = counted[..] else {
        panic!("one firewall: {counted:?}")
    };
    let pinned = scene.firewalls[firewall].address().to_string();
    let list = |format| scene.agents[0].ask(&["sfcflow", "list", "-o", format]);
    let rows: Vec<FlowRow> = serde_json::from_str(&list("json")?).expect("JSON");
    let row = rows
        .iter()
        .find(|row| row.path == 1)
        .unwrap_or_else(|| panic!("a flow to the firewalls: {rows:?}"));
    assert_eq!((row.protocol, row.index, row.ttl), (17, 1, 63));
    assert_eq!((&*row.destination, &*row.pod), ("198.18.0.200:9", &*pinned));
    assert!(
        row.source.starts_with(&format!("{}:", client.address())),
        "{row:?}"
    );
    let columns = format!(
        "{}|UDP {} -> {}|(1, 1)|{pinned}",
        row.endpoint, row.source, row.destination
    );
    let (table, wide) = (list("table")?, list("wide")?);
    assert_eq!(words(&table)[0], "ENDPOINT|FLOW|PATH|POD");
    assert!(words(&table).contains(&columns), "{table}");
    assert_eq!(words(&wide)[0], "ENDPOINT|FLOW|PATH|POD|TTL");
    assert!(words(&wide).contains(&format!("{columns}|63")), "{wide}");
    assert_eq!(
        serde_yaml::from_str::<Vec<FlowRow>>(&list("yaml")?).expect("YAML"),
        rows
    );
    let next = scene.agents[firewall].ask(&["sfcflow", "list", "-o", "json"])?;
    let next: Vec<FlowRow> = serde_json::from_str(&next).expect("JSON");
    let onwards = next
        .iter()
        .find(|other| other.path == 2 && other.source == row.source);
    let onwards = onwards.unwrap_or_else(|| panic!("a flow to the proxies: {next:?}"));
    assert_eq!(onwards.ttl, 62);
    assert!(
        scene.is_proxy(onwards.pod.parse().expect("an address")),
        "{onwards:?}"
    );
    Ok(())
}

/// Lines with their columns, three spaces or more apart, joined by `|`.
fn words(table: &str) -> Vec<String> {
    let columns = |line: &str| {
        let cells = line.split("   ").map(str::trim);
        cells
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
            .join("|")
    };
    table.lines().map(columns).collect()
}

/// The second column begins at the same place in every line.
fn assert_aligned(table: &str) {
    let head = table.find("PATH").expect("a column");
    for line in table.lines().skip(1) {
        assert_eq!(line.find('('), Some(head), "{table}");
    }
}

fn on_all_nodes(app: &str) -> String {
    let pods = ["n1", "n2", "n3"].map(|node| format!("{app}/{app}-{node}@{node}"));
    pods.join(",")
}

#[test]
fn check_passes_the_samples_and_refuses_each_bad_manifest_with_field_and_mend() {
    let good = check(&manifests("samples"));
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(
        stdout(&good).ends_with(": 0 errors, 0 warnings\n"),
        "{good:?}"
    );
    let mended = [
        (
            "protocol-beside-allports.yaml",
            "spec.egress.ports[0].protocol: unknown field; write allPorts: {protocol: UDP}",
        ),
        (
            "selector-without-matchlabels.yaml",
            "spec.subject.pods.podSelector.app: unknown field; \
             write it as podSelector: {matchLabels: {app: firewall}}",
        ),
    ];
    let files = manifests("bad");
    assert_eq!(files.len(), mended.len());
    for (file, (name, mend)) in files.iter().zip(mended) {
        assert!(file.ends_with(name));
        let refused = check(std::slice::from_ref(file));
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let line = format!("error: {}: TrafficSelector/", file.display());
        let printed = stdout(&refused);
        let named = |printed: &str| {
            printed
                .lines()
                .any(|l| l.starts_with(&line) && l.contains(mend))
        };
        assert!(named(&printed), "{printed}");
    }
}

fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../manifests")
        .join(folder);
    let listing = fs::read_dir(folder).expect("the project's manifests");
    let mut files: Vec<_> = listing.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

fn check(files: &[PathBuf]) -> Output {
    let output = Command::new(XSTEER).arg("check").args(files).output();
    output.expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_pod_that_no_veth_leads_to_is_reported_and_the_others_are_steered() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    scene.testbed.node(1).namespace().ip(
        "link add macv0 link eth0 type macvlan mode bridge\nlink set macv0 up\n\
         route add 10.64.1.200/32 dev macv0\nroute add 10.64.1.201/32 dev eth0",
    )?;
    let expected = [
        ("by-macvlan", "10.64.1.200", "macv0 (macvlan)"),
        ("by-uplink", "10.64.1.201", "eth0 (veth)"),
    ];
    for (name, address, _) in expected {
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: vpn\n  labels:\n    \
             app: vpn\nspec:\n  nodeName: n1\nstatus:\n  phase: Running\n  podIP: {address}\n"
        );
        scene
            .testbed
            .manifests()
            .write(&format!("pod-{name}.yaml"), &pod)?;
    }
    let agent = &scene.agents[0];
    for (name, address, device) in expected {
        let line = format!("Pod/vpn/{name}: status.podIP: pod {address} is reached by {device}");
        wait_until(&format!("{name} is an issue"), WITHIN, || {
            agent
                .ask(&["issues"])
                .is_ok_and(|issues| issues.contains(&line))
        })?;
        assert!(agent.log().contains(&line), "{}", agent.log());
    }
    // What comes after the issue goes on: another subject is steered as ever.
    let other = scene
        .testbed
        .node(1)
        .add_pod(PodConfig::new("vpn", "vpn-other"))?;
    scene.testbed.manifests().write_pod(&other, true)?;
    let sink = Sink::start(&scene.outside(), 9)?;
    wait_until("the other pod is steered", WITHIN, || {
        let source = sink.attempt(&Endpoint::from(&other));
        source.is_some_and(|source| scene.is_proxy(source))
    })?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    assert!(scene.is_proxy(sink.arrival(&client)));
    scene.assert_frames_conserved()
}

#[test]
fn more_workers_than_queues_of_the_uplink_are_refused_with_the_mend() -> Result<()> {
    let testbed = Testbed::new(TestbedConfig {
        nodes: 1,
        uplink_queues: 1,
        ..TestbedConfig::default()
    })?;
    testbed.write_cluster()?;
    let config = AgentConfig {
        workers: 2,
        ..AgentConfig::new(testbed.manifests().directory())
    };
    let mut agent = testbed.node(1).start_agent(Path::new(XSTEER), &config)?;
    wait_until("the agent refuses", WITHIN, || !agent.is_running())?;
    let mend = "--workers 2 needs as many transmit queues on eth0, which has 1: use --workers 1";
    assert!(agent.log().contains(mend), "{}", agent.log());
    assert!(!agent.bpf_root().exists());
    let one = AgentConfig {
        workers: 1,
        ..config
    };
    let agent = testbed.node(1).start_agent(Path::new(XSTEER), &one)?;
    wait_until("one worker runs", WITHIN, || agent.ask(&["stats"]).is_ok())
}
