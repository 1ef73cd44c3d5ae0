//! Scripts of `rhizome simulate`: read, run in the model, and printed.

use explain::simulate::{Script, Simulation};

/// Words of scripts.
pub(crate) const WORDS: &[&str] = &[
    "mount ",
    "umount ",
    "pivot_root ",
    "mkdir -p ",
    "touch ",
    "rmdir ",
    "mv ",
    "ns ",
    "@a ",
    "--user",
    "from host",
    "--bind ",
    "--rbind ",
    "--move ",
    "--beneath ",
    "--make-rshared ",
    "--make-slave ",
    "--make-unbindable ",
    "-o remount,ro ",
    "-o bind,shared ",
    "-t tmpfs none ",
    "-l ",
    "-R ",
    "/a",
    "/a/b",
    "..",
    "\n",
    "#",
    "'",
    "\\",
    "\u{1b}[31m",
];

/// Lines that are run: what they make can double with each.
const MAX_LINES: usize = 60;
/// Small, so that trees that are bound into themselves end.
const MOUNT_MAX: u32 = 200;

/// An error says where it is; what can be run is run to its end, and what is printed steers no terminal.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let script = match Script::parse(text) {
        Ok(script) => script,
        Err(error) => return assert!(!error.to_string().contains('\u{1b}'), "{error}"),
    };
    let mut simulation = Simulation::default();
    simulation.set_mount_max(MOUNT_MAX);
    for line in script.lines().iter().take(MAX_LINES) {
        let step = simulation.step(line);
        assert_eq!(step.line, line.number);
    }
    assert!(simulation.tables().iter().all(|(_, table)| !table.to_string().contains('\u{1b}')));
}
