//! What layers turn into on disk, and that hostile ones turn into errors without touching anything outside.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use image::{ImportOptions, Limits};
use support::{Meta, Tar, World, chain, gzip, is_root};

fn import(world: &World, tar: Tar) -> Result<PathBuf, String> {
    let path = world.write("in.tar", &tar.end());
    match world.store.import(&path, "test") {
        Ok(image) => {
            assert_eq!(image.layers.len(), 1);
            Ok(image.layers[0].clone())
        }
        Err(error) => {
            assert_eq!(world.in_store("tmp"), [""; 0], "nothing half-made is left");
            assert_eq!(world.in_store("layers"), [""; 0]);
            assert!(world.store.list().unwrap().is_empty());
            Err(chain(&error))
        }
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut buffer = [0_u8; 4096];
    let size = rustix::fs::lgetxattr(path, name, &mut buffer[..]).ok()?;
    Some(buffer[..size].to_vec())
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = fs::symlink_metadata(path).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

#[test]
fn every_kind_of_member_arrives_as_it_was() {
    if !is_root("every_kind_of_member_arrives_as_it_was") {
        return;
    }
    let world = World::new();
    let meta = |mode, uid, gid| Meta { mode, uid, gid, ..Meta::default() };
    let tar = Tar::new()
        .raw(b'5', b"./", b"", &meta(0o751, 0, 7), 0, b"")
        .dir("bin/")
        .file_with("bin/su", b"suid", &meta(0o4755, 0, 0))
        .hard_link("bin/su2", "bin/su")
        .symlink("sh", "/bin/su")
        .raw(b'3', b"null", b"", &Meta { device: (1, 3), ..meta(0o666, 0, 0) }, 0, b"")
        .raw(b'4', b"disk", b"", &Meta { device: (8, 300), ..meta(0o660, 0, 6) }, 0, b"")
        .raw(b'6', b"pipe", b"", &meta(0o600, 5, 5), 0, b"")
        .file_with("home/user/note", b"hello", &meta(0o600, 1000, 1001))
        .file("empty", b"");
    let root = import(&world, tar).unwrap();
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((stat(".").mode() & 0o7777, stat(".").gid()), (0o751, 7));
    assert_eq!(stat("bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(stat("bin/su").ino(), stat("bin/su2").ino());
    assert_eq!(fs::read_link(root.join("sh")).unwrap(), Path::new("/bin/su"));
    assert_eq!(stat("null").rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(stat("disk").rdev(), rustix::fs::makedev(8, 300));
    assert_eq!(stat("disk").mode() & 0o7777, 0o660);
    assert!(stat("pipe").file_type().is_fifo());
    assert_eq!((stat("pipe").uid(), stat("pipe").mtime()), (5, 1_000_000_000));
    assert_eq!((stat("home/user/note").uid(), stat("home/user/note").gid()), (1000, 1001));
    assert_eq!(stat("home/user").mode() & 0o7777, 0o755, "directories that the archive leaves out");
    assert_eq!(fs::read(root.join("home/user/note")).unwrap(), b"hello");
    assert_eq!(stat("bin").mtime(), 1_000_000_000, "set after its contents were written");
    assert_eq!(stat(".").mtime(), 1_000_000_000);
}

#[test]
fn a_path_of_dots_is_refused() {
    for name in ["../escaped", "a/../../escaped", "..", "./../escaped"] {
        let world = World::new();
        let error = import(&world, Tar::new().file(name, b"x")).unwrap_err();
        assert!(error.contains("leads out of the root file system"), "{error}");
        assert!(!world.path("store/escaped").exists() && !world.path("escaped").exists());
    }
}

#[test]
fn an_absolute_path_means_the_layers_own_root() {
    let world = World::new();
    let outside = world.path("outside");
    let root = import(&world, Tar::new().file(outside.to_str().unwrap(), b"x")).unwrap();
    assert!(!outside.exists());
    assert!(root.join(outside.strip_prefix("/").unwrap()).exists());
}

#[test]
fn writing_through_a_symlink_stays_inside() {
    let world = World::new();
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "safe").unwrap();
    let target = outside.to_str().unwrap();
    // An absolute link resolves to the layer's own directory of that path, made first here.
    let inner = target.trim_start_matches('/').to_owned();
    let root = import(
        &world,
        Tar::new().dir(&inner).symlink("evil", target).file("evil/victim", b"x").file("evil/new", b"x"),
    )
    .unwrap();
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "safe");
    assert_eq!(support::names(&outside), ["victim"]);
    assert_eq!(support::names(&root.join(&inner)), ["new", "victim"]);

    let world = World::new();
    let climbing = Tar::new().symlink("up", "../../../../../../../../../..").file("up/escaped", b"x");
    let root = import(&world, climbing).unwrap();
    assert!(root.join("escaped").exists(), "`..` of the root is the root");
    assert!(!Path::new("/escaped").exists());
}

#[test]
fn a_symlink_that_leads_nowhere_is_no_directory() {
    let world = World::new();
    let error = import(&world, Tar::new().symlink("evil", "/nowhere").file("evil/x", b"x")).unwrap_err();
    assert!(error.contains(r#""evil/x" lies below "evil", which is not a directory"#), "{error}");
    let error = import(&World::new(), Tar::new().symlink("a", "a").file("a/x", b"x")).unwrap_err();
    assert!(error.contains("not a directory"), "{error}");
    let error = import(&World::new(), Tar::new().file("a", b"").file("a/x", b"x")).unwrap_err();
    assert!(error.contains("not a directory"), "{error}");
}

#[test]
fn links_in_a_loop_lead_nowhere() {
    let loops = [
        Tar::new().symlink("a", "b").symlink("b", "a"),
        Tar::new().symlink("a", "a"),
        Tar::new().dir("d").symlink("a", "d/up").symlink("d/up", "../a"),
        // One more than the kernel follows.
        (0..41)
            .fold(Tar::new().dir("l41"), |tar, n| tar.symlink(&format!("l{n}"), &format!("l{}", n + 1)))
            .symlink("a", "l0"),
    ];
    for tar in loops {
        let error = import(&World::new(), tar.file("a/file", b"x")).unwrap_err();
        assert!(error.contains("a/file"), "{error}");
    }
}

/// A million in the long form, which takes a while (`RHIZOME_LONG=1`).
#[test]
fn a_layer_of_very_many_entries() {
    let count = if std::env::var_os("RHIZOME_LONG").is_some() { 1_000_000 } else { 20_000 };
    let world = World::new();
    // One name again and again costs the disk nothing, and a directory of many names is another thing.
    let tar = (0..count).fold(Tar::new(), |tar, n| match n % 4 {
        0 => tar.file("same", b""),
        1 => tar.symlink(&format!("links/{n}"), "nowhere"),
        2 => tar.hard_link(&format!("d{}/{n}", n % 100), "same"),
        _ => tar.file(&format!("d{}/.wh.{n}", n % 100), b""),
    });
    if !is_root("a_layer_of_very_many_entries") {
        return;
    }
    let root = import(&world, tar).unwrap();
    assert_eq!(support::names(&root.join("links")).len(), count / 4);
    let limits = Limits { members: 1000, ..Limits::default() };
    let path = world.path("in.tar");
    let options = ImportOptions { limits, ..ImportOptions::default() };
    let error = chain(&world.store.import_with(&path, "again", &options).unwrap_err());
    assert!(error.contains("more than 1000 members"), "{error}");
}

#[test]
fn the_last_component_is_never_followed() {
    let world = World::new();
    let victim = world.write("victim", b"safe");
    let name = victim.to_str().unwrap();
    let root = import(&world, Tar::new().symlink("x", name).file("x", b"new")).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"safe");
    assert_eq!(fs::read(root.join("x")).unwrap(), b"new");
    assert!(fs::symlink_metadata(root.join("x")).unwrap().is_file());
}

#[test]
fn hard_links_reach_only_what_the_layer_holds() {
    let world = World::new();
    let secret = world.write("secret", b"secret");
    for target in ["../../../secret", "/etc/hostname", secret.to_str().unwrap(), "missing", "a/b", ""] {
        let world = World::new();
        let error = import(&world, Tar::new().hard_link("x", target)).unwrap_err();
        assert!(
            error.contains("not in this layer")
                || error.contains("leads out")
                || error.contains("invalid path"),
            "{target}: {error}"
        );
    }
    // Through a symbolic link of the layer that points at the machine's root.
    let error = import(&world, Tar::new().symlink("s", "/").hard_link("x", "s/etc/hostname")).unwrap_err();
    assert!(error.contains("not in this layer"), "{error}");
    let root = import(&world, Tar::new().file("a", b"1").hard_link("a", "./a")).unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"1", "a link to itself");
}

#[test]
fn a_later_member_replaces_an_earlier_one() {
    let world = World::new();
    let tar = Tar::new().file("x", b"1").file("x", b"22").dir("d").symlink("d", "x").dir("k").dir("k");
    let root = import(&world, tar).unwrap();
    assert_eq!(fs::read(root.join("x")).unwrap(), b"22");
    assert!(fs::symlink_metadata(root.join("d")).unwrap().is_symlink());
    let error = import(&World::new(), Tar::new().dir("d").file("d/x", b"").symlink("d", "/")).unwrap_err();
    assert!(error.contains("not empty"), "{error}");
}

#[test]
fn whiteouts_take_overlayfs_form() {
    if !is_root("whiteouts_take_overlayfs_form") {
        return;
    }
    let world = World::new();
    let tar = Tar::new()
        .dir("etc")
        .file("etc/.wh.gone", b"")
        .dir("var")
        .file("var/kept", b"1")
        .file("var/.wh..wh..opq", b"")
        .file("var/kept2", b"1")
        .file(".wh..wh.plnk", b"")
        // What the same layer has stays, wherever the whiteout is.
        .file("both", b"1")
        .file(".wh.both", b"")
        .dir("tree")
        .file("tree/new", b"1")
        .file(".wh.tree", b"")
        .file(".wh.made", b"")
        .dir("made")
        .file(".wh.later", b"")
        .file("later", b"1");
    let root = import(&world, tar).unwrap();
    assert!(is_whiteout(&root.join("etc/gone")));
    assert_eq!(xattr(&root.join("var"), "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(support::names(&root.join("var")), ["kept", "kept2"]);
    assert_eq!(fs::read(root.join("both")).unwrap(), b"1");
    assert_eq!(fs::read(root.join("tree/new")).unwrap(), b"1");
    for opaque in ["tree", "made"] {
        assert_eq!(
            xattr(&root.join(opaque), "trusted.overlay.opaque").as_deref(),
            Some(&b"y"[..]),
            "{opaque}"
        );
    }
    assert_eq!(fs::read(root.join("later")).unwrap(), b"1");
    assert_eq!(xattr(&root.join("etc"), "trusted.overlay.opaque"), None);
    assert!(!root.join(".wh..wh.plnk").exists());
}

#[test]
fn whiteouts_of_nothing_or_of_the_outside_are_refused() {
    for name in [".wh.", "a/.wh...", ".wh.."] {
        let error = import(&World::new(), Tar::new().file(name, b"")).unwrap_err();
        assert!(error.contains("whiteout of nothing"), "{name}: {error}");
    }
}

#[test]
fn attributes_arrive_byte_for_byte() {
    if !is_root("attributes_arrive_byte_for_byte") {
        return;
    }
    // A capability set whose bytes hold a line feed: cap_dac_override and cap_setpcap… (vfs_cap_data, revision 2).
    let capability = [1, 0, 0, 2, b'\n', 0x20, 0, 0, 0, 0, 0, 0, b'\n', 0, 0, 0, 0, 0, 0, 0];
    let world = World::new();
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"a=b\nc"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("path", b"ping"),
            ("mtime", b"12.25"),
        ])
        .file("short", b"x");
    let root = import(&world, tar).unwrap();
    let ping = root.join("ping");
    assert_eq!(xattr(&ping, "security.capability").unwrap()[..16], capability[..16]);
    assert_eq!(xattr(&ping, "user.note").as_deref(), Some(&b"a=b\nc"[..]));
    assert_eq!(xattr(&ping, "trusted.overlay.redirect"), None);
    assert_eq!(xattr(&ping, "user.overlay.opaque"), None);
    let metadata = fs::metadata(&ping).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (12, 250_000_000));
}

#[test]
fn long_names_of_both_kinds() {
    let world = World::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let tar = Tar::new()
        .raw(
            b'L',
            b"././@LongLink",
            b"",
            &Meta::default(),
            long.len() as u64 + 1,
            &[long.as_bytes(), b"\0"].concat(),
        )
        .file("cut", b"1")
        .pax(&[("path", format!("p/{long}").as_bytes())])
        .file("cut", b"2");
    let root = import(&world, tar).unwrap();
    assert_eq!(fs::read(root.join(&long)).unwrap(), b"1");
    assert_eq!(fs::read(root.join("p").join(&long)).unwrap(), b"2");
}

#[test]
fn sizes_that_lie_are_errors() {
    let meta = Meta::default();
    let huge = Tar::new().raw(b'0', b"huge", b"", &meta, 1 << 60, b"a little");
    let error = import(&World::new(), huge).unwrap_err();
    assert!(error.contains(r#"the archive ends at byte 2048, within "huge""#), "{error}");
    let pax = Tar::new().file("a", b"").pax(&[("size", b"99999999999999999999")]).file("b", b"");
    assert!(import(&World::new(), pax).unwrap_err().contains("invalid size"));
    for kind in [b'x', b'L', b'K', b'g'] {
        let tar = Tar::new().file("a", b"").raw(kind, b"h", b"", &meta, 1 << 40, b"");
        let error = import(&World::new(), tar).unwrap_err();
        assert!(error.contains("an extension header of 1099511627776 bytes"), "{error}");
    }
}

#[test]
fn numbers_and_kinds_that_do_not_fit_are_errors() {
    let owner = Meta { uid: u64::from(u32::MAX), ..Meta::default() };
    let error = import(&World::new(), Tar::new().file_with("a", b"", &owner)).unwrap_err();
    assert!(error.contains("invalid owner"), "{error}");
    for (kind, message) in [(b'S', "a sparse file"), (b'V', "of type 'V'"), (b'M', "of type 'M'")] {
        let tar = Tar::new().file("a", b"").raw(kind, b"x", b"", &Meta::default(), 0, b"");
        let error = import(&World::new(), tar).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    let error = import(
        &World::new(),
        Tar::new().file(&"n".repeat(90), b"").pax(&[("path", &[b'n'; 256])]).file("x", b""),
    )
    .unwrap_err();
    assert!(error.contains("longer than 255 bytes"), "{error}");
    let error = import(&World::new(), Tar::new().pax(&[("path", b"a\0b")]).file("x", b"")).unwrap_err();
    assert!(error.contains("zero byte"), "{error}");
}

#[test]
fn bounds_hold_also_for_what_is_packed() {
    let world = World::new();
    let tar = Tar::new().file("zeros", &vec![0; 4 << 20]).end();
    for bytes in [gzip(&tar), tar] {
        let path = world.write("in.tar.gz", &bytes);
        let limits = Limits { bytes: 1 << 20, ..Limits::default() };
        let options = ImportOptions { limits, ..ImportOptions::default() };
        let error = chain(&world.store.import_with(&path, "test", &options).unwrap_err());
        assert!(error.contains("more than 1048576 bytes after decompression"), "{error}");
        assert_eq!(world.in_store("tmp"), [""; 0]);
    }
    let many = (0..100).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), b""));
    let path = world.write("many.tar", &many.end());
    let options =
        ImportOptions { limits: Limits { members: 50, ..Limits::default() }, ..ImportOptions::default() };
    let error = chain(&world.store.import_with(&path, "test", &options).unwrap_err());
    assert!(error.contains("more than 50 members"), "{error}");
}

#[test]
fn damage_is_told_with_its_place() {
    let world = World::new();
    let mut tar = Tar::new().file("a", b"1").file("b", b"2").end();
    tar[1024 + 3] ^= 1;
    let path = world.write("in.tar", &tar);
    let error = chain(&world.store.import(&path, "test").unwrap_err());
    assert!(error.contains("malformed archive at byte 1536: a header's checksum is wrong"), "{error}");
    let packed = gzip(&Tar::new().file("a", &[7; 100_000]).end());
    let path = world.write("in.tar.gz", &packed[..packed.len() / 2]);
    let error = chain(&world.store.import(&path, "test").unwrap_err());
    assert!(error.contains("archive ends") || error.contains("cannot read the archive"), "{error}");
    for (bytes, message) in [
        (&b""[..], "the archive is empty"),
        (&[0; 2048], "the archive is empty"),
        (b"not a tar file", "ends within a header"),
        (b"\xfd7zXZ\0....", "unxz"),
        (b"BZh9......", "bunzip2"),
    ] {
        let path = world.write("bad", bytes);
        let error = chain(&world.store.import(&path, "test").unwrap_err());
        assert!(error.contains(message), "{message}: {error}");
    }
}
