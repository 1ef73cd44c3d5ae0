//! Tests of the room: examples as tables, properties over generated tables.

use crate::{
    Device, Mount, MountId, MountTable, NamespaceId, NamespaceTable, PeerGroup, Propagation, Snapshot,
};
use expect_test::{Expect, expect};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

fn parse(text: &str) -> MountTable {
    MountTable::parse_mountinfo(text.as_bytes()).expect("a mountinfo")
}

/// What a mountinfo parses to: a line a row, or the error.
#[track_caller]
fn check(input: &[u8], expect: Expect) {
    let actual = match MountTable::parse_mountinfo(input) {
        Ok(table) => table
            .mounts
            .iter()
            .map(|m| {
                format!(
                    "{} on {} {} {:?}{} at {:?} [{}] {} {} {:?} {:?}\n",
                    m.id.0,
                    m.parent.0,
                    m.device,
                    m.root,
                    if m.deleted { " (deleted)" } else { "" },
                    m.mount_point,
                    m.options,
                    m.propagation,
                    m.fs_type,
                    m.source,
                    m.super_options
                )
            })
            .collect(),
        Err(error) => format!("error: {error}\n"),
    };
    expect.assert_eq(&actual);
}

#[test]
fn rows_of_a_node() {
    check(
        b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
          22 21 0:21 / /proc rw,nosuid shared:5 master:1 propagate_from:2 - proc proc rw\n\
          30 21 0:30 /sub /data rw unbindable - fuse.sshfs me@host:/x rw,user_id=0\n\
          31 21 0:4 mnt:[4026532200] /run/ns rw - nsfs nsfs rw\n",
        expect![[r#"
            21 on 1 8:1 "/" at "/" [rw,relatime] shared ext4 "/dev/sda1" "rw,errors=remount-ro"
            22 on 21 0:21 "/" at "/proc" [rw,nosuid] shared+slave proc "proc" "rw"
            30 on 21 0:30 "/sub" at "/data" [rw] unbindable fuse.sshfs "me@host:/x" "rw,user_id=0"
            31 on 21 0:4 "mnt:[4026532200]" at "/run/ns" [rw] private nsfs "nsfs" "rw"
        "#]],
    );
}

#[test]
fn escapes_and_odd_bytes() {
    check(
        b"1 1 0:1 /a\\040b\\011c\\012d\\134e\\043f /x\\1y\\ rw - tmpfs a\\040b rw,lowerdir=/a\\054b\n\
          2 1 0:1 / /\xff\xfe\\134 rw - tmpfs \xff size=\xff\n",
        expect![[r#"
            1 on 1 0:1 "/a b\tc\nd\\e#f" at "/x\\1y\\" [rw] private tmpfs "a b" "rw,lowerdir=/a\\054b"
            2 on 1 0:1 "/" at "/\xFF\xFE\\" [rw] private tmpfs "\\377" "size=\\377"
        "#]],
    );
}

#[test]
fn a_row_steers_no_terminal_and_json_keeps_its_paths() {
    let row = b"1 1 0:1 /a\x1bb /x\x7fy rw - tmpfs no\x1b[31mne rw\n";
    let table = MountTable::parse_mountinfo(row).expect("a row");
    let text = table.to_string();
    assert_eq!(text, "1 1 0:1 /a\\033b /x\\177y rw - tmpfs no\\033[31mne rw\n");
    assert_eq!(MountTable::parse_mountinfo(text.as_bytes()), Ok(table.clone()));
    assert_eq!(crate::text_of_path(&table.mounts[0].root), "/a\x1bb");
}

#[test]
fn optional_fields_in_any_order_and_unknown_ones() {
    check(
        b"1 0 0:1 / / rw unbindable later:9 master:3 new shared:4 - tmpfs t rw\n\
          2 1 0:1 / /b rw - tmpfs  rw\n\
          \n\
          3 1 0:1 / /c rw - tmpfs -  a b",
        expect![[r#"
            1 on 0 0:1 "/" at "/" [rw] shared+slave tmpfs "t" "rw"
            2 on 1 0:1 "/" at "/b" [rw] private tmpfs "" "rw"
            3 on 1 0:1 "/" at "/c" [rw] private tmpfs "-" " a b"
        "#]],
    );
}

#[test]
fn removed_roots() {
    check(
        b"1 0 0:1 /a//deleted /a rw - tmpfs t rw\n2 0 0:1 //deleted /b rw - tmpfs t rw\n",
        expect![[r#"
            1 on 0 0:1 "/a" (deleted) at "/a" [rw] private tmpfs "t" "rw"
            2 on 0 0:1 "/" (deleted) at "/b" [rw] private tmpfs "t" "rw"
        "#]],
    );
}

#[test]
fn errors_name_line_and_field() {
    check(b"", expect![""]);
    check(
        b"x 0 0:1 / / rw - t t rw",
        expect![[r#"
        error: mountinfo line 1, mount id: not a number
    "#]],
    );
    check(
        b"1 0 0:1 / / rw - t t rw\n\n1 -1 0:1",
        expect![[r#"
        error: mountinfo line 3, parent id: not a number
    "#]],
    );
    check(
        b"1 0 01 / / rw - t t rw",
        expect![[r#"
        error: mountinfo line 1, device: not a device number (major:minor)
    "#]],
    );
    check(
        b"1 0 0:1 /",
        expect![[r#"
        error: mountinfo line 1, mount point: missing
    "#]],
    );
    check(
        b"1 0 0:1 / / rw shared:1",
        expect![[r#"
        error: mountinfo line 1, optional fields: missing
    "#]],
    );
    check(
        b"1 0 0:1 / / rw shared: - t t rw",
        expect![[r#"
        error: mountinfo line 1, optional fields: not a number
    "#]],
    );
    check(
        b"1 0 0:1 / / rw - t t",
        expect![[r#"
        error: mountinfo line 1, super options: missing
    "#]],
    );
    check(
        b"99999999999999999999 0 0:1 / / rw - t t rw",
        expect![[r#"
        error: mountinfo line 1, mount id: not a number
    "#]],
    );
    let many = format!("1 0 0:1 / / rw {}- t t rw", "a ".repeat(65));
    check(
        many.as_bytes(),
        expect![[r#"
        error: mountinfo line 1, optional fields: too many
    "#]],
    );
}

/// A small generator of numbers (xorshift), so that properties need no library and every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, alphabet: &[u8]) -> Vec<u8> {
        (0..self.below(9)).map(|_| alphabet[self.below(alphabet.len() as u64) as usize]).collect()
    }

    fn path(&mut self) -> PathBuf {
        let mut bytes = vec![b'/'];
        for _ in 0..self.below(4) {
            bytes.extend(self.bytes(b"ab \t\n\\#\xff\xc3\xa90127"));
            bytes.push(b'x');
            bytes.push(b'/');
        }
        if bytes.len() > 1 {
            bytes.pop();
        }
        PathBuf::from(OsString::from_vec(bytes))
    }

    fn mount(&mut self) -> Mount {
        let mut group = || self.next().is_multiple_of(2).then(|| PeerGroup(self.next()));
        let propagation = Propagation {
            shared: group(),
            master: group(),
            propagate_from: group(),
            unbindable: self.below(2) == 0,
        };
        Mount {
            id: MountId(self.next()),
            parent: MountId(self.next()),
            device: Device { major: self.next() as u32, minor: self.next() as u32 },
            root: self.path(),
            deleted: self.below(3) == 0,
            mount_point: self.path(),
            options: "rw,nosuid".to_owned(),
            propagation,
            fs_type: "fuse.x".to_owned(),
            source: String::from_utf8(self.bytes(b"a \t\\#")).expect("ASCII"),
            super_options: "rw,a=\\054 b".to_owned(),
        }
    }
}

#[test]
fn a_printed_row_parses_to_itself() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2_000 {
        let table = MountTable { mounts: (0..random.below(4)).map(|_| random.mount()).collect() };
        let text = table.to_string();
        assert_eq!(MountTable::parse_mountinfo(text.as_bytes()).as_ref(), Ok(&table), "{text}");
    }
}

#[test]
fn json_keeps_every_path() {
    let mut random = Random(7);
    for _ in 0..500 {
        let table = MountTable { mounts: vec![random.mount()] };
        let json = serde_json::to_string(&table).expect("any table");
        assert_eq!(serde_json::from_str::<MountTable>(&json).expect("what was written"), table, "{json}");
    }
}

#[test]
fn damaged_rows_never_panic() {
    let row = b"22 21 0:21 /a\\040//deleted /proc rw shared:5 master:1 unbindable - proc proc rw,x\n";
    let mut random = Random(99);
    for _ in 0..20_000 {
        let mut bytes = row.repeat(2);
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, b" \\-:\n0"[random.below(6) as usize]),
            }
        }
        let _ = MountTable::parse_mountinfo(&bytes);
    }
}

#[test]
fn parsing_is_linear() {
    // Not a benchmark: a quadratic parser would take minutes here.
    let row = "22 21 0:21 / /var/lib/kubelet/pods/x/volumes/y rw shared:5 - tmpfs tmpfs rw,size=1k\n";
    assert_eq!(parse(&row.repeat(100_000)).mounts.len(), 100_000);
}

const STACKS: &str = "\
1 0 0:1 / / rw - tmpfs root rw
2 1 0:2 / /a rw - tmpfs a rw
3 2 0:3 / /a/b rw - tmpfs ab rw
4 1 0:4 / /a-b rw - tmpfs a-b rw
5 2 0:5 / /a rw - tmpfs a-again rw
6 5 0:6 / /a/c rw - tmpfs ac rw
7 1 0:7 / /d/e/f rw - tmpfs def rw
8 7 0:8 / /d/e/f/g rw - tmpfs defg rw
9 1 0:9 / /d/e rw - tmpfs de rw
10 9 0:10 / /d/e/f rw - tmpfs def-again rw
";

#[track_caller]
fn check_carrier(table: &MountTable, expect: Expect) {
    let paths = ["/", "/x", "/a", "/a/b", "/a/b/", "/a/c/d", "/a-b/c", "/a-", "/d", "/d/e", "/d/e/f/g"];
    let source = |mount: Option<&Mount>| mount.map_or("-", |m| &m.source).to_owned();
    let actual: String = paths
        .iter()
        .map(|path| {
            let path = Path::new(path);
            let (carrier, topmost) = (table.carrier(path), table.topmost_at(path));
            format!("{}: {} {}\n", path.display(), source(carrier), source(topmost))
        })
        .collect();
    expect.assert_eq(&actual);
}

#[test]
fn the_carrier_is_where_a_walk_ends() {
    check_carrier(
        &parse(STACKS),
        expect![[r#"
            /: root root
            /x: root -
            /a: a-again a-again
            /a/b: a-again -
            /a/b/: a-again -
            /a/c/d: ac -
            /a-b/c: a-b -
            /a-: root -
            /d: root -
            /d/e: de de
            /d/e/f/g: def-again -
        "#]],
    );
}

#[test]
fn tables_without_a_root_row() {
    // A task in a chroot to a plain directory: the mount that holds it is not listed.
    let table = parse(
        "5 1 0:5 / /a rw - tmpfs a rw\n6 1 0:6 / /a/b rw - tmpfs hidden rw\n7 5 0:6 / /a/c rw - tmpfs ac rw\n",
    );
    check_carrier(
        &table,
        expect![[r#"
            /: - -
            /x: - -
            /a: a a
            /a/b: a -
            /a/b/: a -
            /a/c/d: ac -
            /a-b/c: - -
            /a-: - -
            /d: - -
            /d/e: - -
            /d/e/f/g: - -
        "#]],
    );
    let whole_namespace = parse("1 1 0:1 / / rw - rootfs none rw\n2 1 0:2 / / rw - ext4 disk rw\n");
    assert_eq!(whole_namespace.carrier(Path::new("/x")).map(|m| m.id), Some(MountId(2)));
}

#[track_caller]
fn check_below(path: &str, expect: Expect) {
    let table = parse(STACKS);
    let sources: Vec<_> = table.below(Path::new(path)).into_iter().map(|m| m.source.as_str()).collect();
    expect.assert_eq(&sources.join(" "));
}

#[test]
fn below_lists_what_is_visible() {
    check_below("/", expect!["root a-b a-again ac de def-again"]);
    check_below("/a", expect!["a-again ac"]);
    check_below("/a/b", expect![""]);
    check_below("/d", expect!["de def-again"]);
    check_below("/d/e/f", expect!["def-again"]);
    check_below("/d/e/f/g", expect![""]);
}

#[test]
fn carrier_and_below_agree() {
    // Whatever the table, a visible mount is the carrier of its own mount point and a hidden one never is.
    let mut random = Random(3);
    let places = ["/", "/a", "/a/b", "/a/b/c", "/a-b", "/d"];
    for _ in 0..2_000 {
        let mut table = MountTable::default();
        for id in 1..=random.below(9) + 1 {
            let place = places[if id == 1 { 0 } else { random.below(6) as usize }];
            // A parent that lies at or above the place, or none.
            let parents: Vec<u64> = table
                .mounts
                .iter()
                .filter(|m| Path::new(place).starts_with(&m.mount_point))
                .map(|m| m.id.0)
                .collect();
            let parent =
                if parents.is_empty() { 0 } else { parents[random.below(parents.len() as u64) as usize] };
            table.mounts.extend(parse(&format!("{id} {parent} 0:1 / {place} rw - t t rw")).mounts);
        }
        let below: Vec<_> = table.below(Path::new("/")).into_iter().map(|m| m.id).collect();
        let mut carriers: Vec<_> =
            places.iter().filter_map(|place| table.topmost_at(Path::new(place))).map(|m| m.id).collect();
        carriers.sort_unstable();
        assert_eq!(below, carriers, "{table}");
    }
}

#[test]
fn children_are_by_parent() {
    let table = parse("1 1 0:1 / / rw - t a rw\n2 1 0:1 / /b rw - t b rw\n3 2 0:1 / /b rw - t c rw\n");
    let children = |id| table.children(MountId(id)).map(|m| m.id.0).collect::<Vec<_>>();
    assert_eq!((children(1), children(2), children(3)), (vec![2], vec![3], vec![]));
    assert_eq!(table.get(MountId(3)).map(|m| m.source.as_str()), Some("c"));
    assert_eq!(table.get(MountId(4)), None);
}

#[test]
fn states_in_words() {
    let group = Some(PeerGroup(1));
    let check = |shared, master, unbindable, words| {
        let propagation = Propagation { shared, master, propagate_from: None, unbindable };
        assert_eq!(propagation.in_words(), words);
        assert_eq!(propagation.is_private(), words == "private");
    };
    check(None, None, false, "private");
    check(group, None, false, "shared");
    check(None, group, false, "slave");
    check(group, group, false, "shared+slave");
    check(None, None, true, "unbindable");
    check(None, group, true, "slave+unbindable");
}

#[test]
fn snapshots_of_one_shape_become_equal() {
    let snapshot = |host: &str, inner: &str| {
        let namespace = |id, text| NamespaceTable { id: NamespaceId(id), mounts: parse(text) };
        let mut snapshot = Snapshot { namespaces: vec![namespace(1, host), namespace(2, inner)] };
        snapshot.renumber();
        snapshot
    };
    let one = snapshot(
        "40 1 0:1 / / rw shared:7 - t a rw\n22 40 0:2 / /b rw shared:3 master:7 - t b rw\n",
        "90 22 0:1 / / rw master:7 - t a rw\n91 90 0:2 / /b rw shared:8 master:3 propagate_from:9 - t b rw\n",
    );
    let two = snapshot(
        "7 7 0:1 / / rw shared:1 - t a rw\n8 7 0:2 / /b rw shared:2 master:1 - t b rw\n",
        "9 8 0:1 / / rw master:1 - t a rw\n10 9 0:2 / /b rw shared:90 master:2 propagate_from:4 - t b rw\n",
    );
    assert_eq!(one, two);
    expect![[r#"
        3 2 0:1 / / rw master:1 - t a rw
        4 3 0:2 / /b rw shared:3 master:2 propagate_from:4 - t b rw
    "#]]
    .assert_eq(&one.namespace(NamespaceId(2)).expect("the second").to_string());
    let other = snapshot(
        "7 7 0:1 / / rw shared:1 - t a rw\n8 7 0:2 / /b rw shared:2 master:1 - t b rw\n",
        "9 8 0:1 / / rw master:2 - t a rw\n10 9 0:2 / /b rw shared:90 master:2 propagate_from:4 - t b rw\n",
    );
    assert_ne!(one, other);
}

#[test]
fn a_path_becomes_a_shell_word() {
    use std::os::unix::ffi::OsStrExt;
    let word = |bytes: &[u8]| crate::shell_word(std::path::Path::new(std::ffi::OsStr::from_bytes(bytes)));
    assert_eq!(word(b"/mnt/a-b_c.d"), "/mnt/a-b_c.d");
    assert_eq!(word(b"/mnt/a b'c"), r"'/mnt/a b'\''c'");
    assert_eq!(word(b"/mnt/$(reboot)"), "'/mnt/$(reboot)'");
    assert_eq!(word(b"/mnt/\xff;"), r"$'/mnt/\377\073'");
    assert_eq!(word(b""), "''");
}
