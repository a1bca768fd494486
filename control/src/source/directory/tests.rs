use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("xsteer-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const CHAIN: &str = "
apiVersion: networking.gke.io/v1
kind: ServiceFunctionChain
metadata: {name: NAME}
spec: {serviceFunctions: [{name: fw, namespace: fw, podSelector: {matchLabels: {app: fw}}}]}
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: fw-0, namespace: fw, labels: {app: fw}}
spec: {nodeName: n1, containers: []}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
";

const OTHERS: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDR: 10.244.0.0/24}
status: {addresses: [{type: InternalIP, address: 198.18.0.1}, {type: Hostname, address: n1}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: fw, labels: {tier: edge}}
";

fn chain(name: &str) -> String {
    CHAIN.replace("NAME", name)
}

fn names(inventory: &Inventory) -> Vec<String> {
    inventory
        .chains
        .iter()
        .map(crate::inventory::Chain::name)
        .collect()
}

fn open(folder: &Folder) -> Directory {
    let folder = folder.path().to_owned();
    Directory::open(&DirectoryConfig {
        folder,
        ..DirectoryConfig::default()
    })
    .unwrap()
}

/// Waits for a snapshot that fulfils `condition`.
async fn wait(
    snapshots: &mut watch::Receiver<Arc<Inventory>>,
    condition: impl Fn(&Inventory) -> bool,
) -> Arc<Inventory> {
    let found = snapshots.wait_for(|inventory| condition(inventory));
    let found = tokio::time::timeout(Duration::from_secs(30), found).await;
    found
        .expect("the snapshot comes within 30 s")
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_folder_is_one_inventory() {
    let folder = Folder::new("whole");
    folder.write("a.yaml", &format!("{}---{POD}---{OTHERS}", chain("main")));
    folder.write(".hidden.yaml", &chain("hidden"));
    folder.write("notes.txt", "not: [yaml");
    let inventory = open(&folder).subscribe().borrow().clone();
    assert_eq!(inventory.issues, []);
    assert_eq!(names(&inventory), ["main"]);
    assert_eq!(inventory.pods[0].addresses.len(), 2);
    assert!(inventory.pods[0].ready && inventory.pods[0].is_reachable());
    assert_eq!(
        inventory.nodes[0].addresses,
        [std::net::IpAddr::from([198, 18, 0, 1])]
    );
    assert_eq!(inventory.nodes[0].pod_cidrs.len(), 1);
    assert_eq!(inventory.namespaces[0].labels.len(), 2);
}

#[tokio::test]
async fn changes_of_the_folder_are_followed() {
    let folder = Folder::new("follow");
    let directory = open(&folder);
    let mut snapshots = directory.subscribe();
    let run = tokio::spawn(directory.run());
    folder.write("a.yaml", &chain("a"));
    wait(&mut snapshots, |inventory| names(inventory) == ["a"]).await;
    folder.write("new.tmp", &chain("b"));
    std::fs::rename(folder.path().join("new.tmp"), folder.path().join("b.yml")).unwrap();
    wait(&mut snapshots, |inventory| names(inventory) == ["a", "b"]).await;
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    let left = wait(&mut snapshots, |inventory| names(inventory) == ["b"]).await;
    assert_eq!(
        left.chains[0].path.unwrap().get(),
        2,
        "the id does not move"
    );
    drop(folder);
    let end = tokio::time::timeout(Duration::from_secs(30), run)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(end, Err(DirectoryError::Gone(_))), "{end:?}");
}

#[tokio::test]
async fn a_slip_keeps_the_last_good_version() {
    let folder = Folder::new("slip");
    folder.write("a.yaml", &chain("a"));
    let directory = open(&folder);
    let mut snapshots = directory.subscribe();
    let run = tokio::spawn(directory.run());
    for slip in ["kind: [", &chain("a").replace("matchLabels", "matchLabel")] {
        folder.write("a.yaml", slip);
        let inventory = wait(&mut snapshots, |inventory| !inventory.issues.is_empty()).await;
        assert_eq!(names(&inventory), ["a"], "{:?}", inventory.issues);
        folder.write("a.yaml", &chain("a"));
        wait(&mut snapshots, |inventory| inventory.issues.is_empty()).await;
    }
    run.abort();
}

#[tokio::test]
async fn one_bad_object_does_not_stop_the_others() {
    let folder = Folder::new("bad");
    folder.write(
        "a.yaml",
        &format!("{}---{}", chain("a").replace("spec", "spek"), chain("b")),
    );
    folder.write("b.yaml", &chain("b"));
    let inventory = open(&folder).subscribe().borrow().clone();
    assert_eq!(names(&inventory), ["b"]);
    let reasons: Vec<_> = inventory.issues.iter().map(|issue| issue.reason).collect();
    assert_eq!(
        reasons,
        [
            IssueReason::UnknownField,
            IssueReason::MissingField,
            IssueReason::Duplicate
        ]
    );
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let folder = PathBuf::from("/nonexistent/xsteer");
    let opened = Directory::open(&DirectoryConfig {
        folder,
        ..DirectoryConfig::default()
    });
    assert!(matches!(opened, Err(DirectoryError::Folder { .. })));
}
