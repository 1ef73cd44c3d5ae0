//! Which devices a container may open: one list, written to version 1's devices controller, or compiled to
//! the eBPF program that version 2 wants in its place.
//!
//! Source: include/uapi/linux/bpf.h (`struct bpf_cgroup_dev_ctx`),
//! Documentation/admin-guide/cgroup-v1/devices.rst.

use sys::bpf::Instruction;

/// Which devices may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    /// Every one (privileged; the pod's own cgroup).
    #[default]
    All,
    /// Those of [`USUAL`]. Making nodes is always allowed, opening others is not.
    Usual,
}

/// The character devices of every container, by major and minor number (none: all of the major): null, zero,
/// full, random, urandom, tty, console, ptmx, pseudo-terminals and tun.
pub const USUAL: [(u32, Option<u32>); 10] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
    (10, Some(200)),
];

/// What version 1's `devices.allow` takes after a `devices.deny` of everything.
pub(super) fn rules() -> Vec<String> {
    let opened = USUAL.iter().map(|(major, minor)| match minor {
        Some(minor) => format!("c {major}:{minor} rwm"),
        None => format!("c {major}:* rwm"),
    });
    ["c *:* m".to_owned(), "b *:* m".to_owned()].into_iter().chain(opened).collect()
}

const CHARACTER: i32 = 2;
const MAKE_NODE: i32 = 1;

// Operations of eBPF, Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_UNEQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// The same as a program: register 1 points to (access << 16 | kind, major, minor); it answers 1 to allow.
pub(super) fn program() -> Vec<Instruction> {
    let [result, context, access, kind, major, minor] = [0u8, 1, 2, 3, 4, 5];
    let one = |code, to: u8, from: u8, offset, immediate| Instruction {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    };
    let answer = |allow| [one(SET, result, 0, 0, allow), one(EXIT, 0, 0, 0, 0)];
    let mut code = vec![
        one(LOAD_WORD, access, context, 0, 0),
        one(LOAD_WORD, major, context, 4, 0),
        one(LOAD_WORD, minor, context, 8, 0),
        one(MOVE, kind, access, 0, 0),
        one(AND, kind, 0, 0, 0xffff),
        one(SHIFT_RIGHT, access, 0, 0, 16),
        // Nothing but making a node.
        one(JUMP_UNEQUAL, access, 0, 2, MAKE_NODE),
    ];
    code.extend(answer(1));
    code.push(one(JUMP_EQUAL, kind, 0, 2, CHARACTER));
    code.extend(answer(0));
    for (number, second) in USUAL {
        match second {
            Some(second) => {
                code.push(one(JUMP_UNEQUAL, major, 0, 3, number as i32));
                code.push(one(JUMP_UNEQUAL, minor, 0, 2, second as i32));
            }
            None => code.push(one(JUMP_UNEQUAL, major, 0, 2, number as i32)),
        }
        code.extend(answer(1));
    }
    code.extend(answer(0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, by a tiny machine of the operations used here.
    fn run(access: u32, kind: u32, major: u32, minor: u32) -> i64 {
        let program = program();
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0i64; 16];
        let mut at = 0usize;
        // Jumps go forward only.
        while let Some(&Instruction { code, registers: pair, offset, immediate }) = program.get(at) {
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            let mut jump = |truth: bool| at += if truth { usize::try_from(offset).unwrap() } else { 0 };
            match code {
                LOAD_WORD => registers[to] = i64::from(context[usize::try_from(offset).unwrap() / 4]),
                MOVE => registers[to] = registers[from],
                SET => registers[to] = i64::from(immediate),
                AND => registers[to] &= i64::from(immediate),
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_EQUAL => jump(registers[to] == i64::from(immediate)),
                JUMP_UNEQUAL => jump(registers[to] != i64::from(immediate)),
                EXIT => return registers[0],
                other => panic!("operation {other:#x}"),
            }
        }
        panic!("no answer")
    }

    #[test]
    fn the_program_is_the_list() {
        let (block, character) = (1, 2);
        let (make, read, write) = (1, 2, 4);
        for access in 1..8 {
            for (major, minor) in USUAL {
                assert_eq!(run(access, character, major, minor.unwrap_or(7)), 1, "{major}:{minor:?}");
            }
            assert_eq!(run(access, character, 1, 11), i64::from(access == make), "kmsg");
            assert_eq!(run(access, block, 1, 3), i64::from(access == make), "ram3");
        }
        assert_eq!(run(read | write, character, 136, 70_000), 1);
        assert_eq!(run(make | read, block, 8, 0), 0);
    }

    #[test]
    fn rules_as_version_1_takes_them() {
        let rules = rules();
        assert_eq!(rules.len(), USUAL.len() + 2);
        assert!(rules.contains(&"c 1:3 rwm".to_owned()) && rules.contains(&"c 136:* rwm".to_owned()));
    }
}
