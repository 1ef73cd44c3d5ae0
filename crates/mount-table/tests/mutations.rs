//! What a container or a file can hold is not chosen by us: parsers get millions of bytes that are nearly right. The
//! same ones every time, so that what fails here fails again.

use mount_table::node::{Groups, Labels, Owner};
use mount_table::{MountTable, NamespaceId, NamespaceView, Node};
use std::path::Path;

/// xorshift64*
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Some bytes are another, missing, there twice, or from elsewhere in the text.
    fn mutate(&mut self, text: &[u8]) -> Vec<u8> {
        const LIKED: &[u8] = b" \n\\0179:-,/\"{}[]\0\x1b\xff";
        let mut bytes = text.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] = LIKED[self.below(LIKED.len())],
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.insert(at, LIKED[self.below(LIKED.len())]),
                3 => bytes.truncate(bytes.len() - self.below(8).min(bytes.len())),
                _ => {
                    let from = self.below(bytes.len());
                    let piece = bytes[from..bytes.len().min(from + 1 + self.below(40))].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

const ROWS: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
    22 21 0:21 / /proc rw,nosuid shared:5 master:1 propagate_from:2 - proc proc rw\n\
    30 21 0:30 /sub//deleted /da\\040ta rw unbindable - fuse.sshfs me@host:/x rw,user_id=0\n\
    31 21 0:4 mnt:[4026532200] /run/\\134ns\xff rw - nsfs nsfs rw\n";

#[test]
fn mountinfo() {
    let mut chance = Chance(0x0123_4567_89ab_cdef);
    let mut parsed = 0;
    for _ in 0..30_000 {
        let bytes = chance.mutate(ROWS);
        let Ok(table) = MountTable::parse_mountinfo(&bytes) else { continue };
        parsed += 1;
        // What was taken is printed in a form that means the same.
        let again = MountTable::parse_mountinfo(table.to_string().as_bytes());
        assert_eq!(again.as_ref(), Ok(&table), "{}", String::from_utf8_lossy(&bytes));
        table.carrier(Path::new("/proc/self"));
        table.below(Path::new("/"));
    }
    assert!(parsed > 3_000, "{parsed}");
}

fn node() -> Node {
    let mut node = Node::new("2026-11-23T08:00:00Z".parse().expect("a time"), "6.18".to_owned());
    node.host = Some(NamespaceId(1));
    for id in 1..4 {
        let mut view = NamespaceView::new(NamespaceId(id), MountTable::parse_mountinfo(ROWS).expect("rows"));
        view.owner = if id == 1 { Owner::Host } else { Owner::Processes };
        view.unique_mount_ids = (0..4).map(|at| mount_table::MountId(id * 10 + at)).collect();
        node.namespaces.push(view);
    }
    node
}

#[test]
fn documents() {
    let mut chance = Chance(0xfeed_beef_1234_5678);
    let (good, text) = (node(), node().to_json().expect("JSON"));
    let mut parsed = 0;
    for _ in 0..8_000 {
        let bytes = chance.mutate(&text);
        let Ok(mut node) = Node::parse_json(&bytes) else { continue };
        parsed += 1;
        assert_eq!(Node::parse_json(&node.to_json().expect("JSON")).expect("what was written"), node);
        let groups = Groups::of(&node);
        groups.all().for_each(|group| drop(groups.receivers(group)));
        let labels = Labels::of(&node);
        for view in &node.namespaces {
            labels.get(view.id);
            node.target(view);
            view.mounts.below(Path::new("/"));
        }
        for target in ["host", "pid:1", "ns:2", "a/b"] {
            let _ = node.resolve(target, "default");
        }
        drop((good.diff(&node), node.diff(&good)));
        node.pseudonymise();
    }
    assert!(parsed > 300, "{parsed}");
}
