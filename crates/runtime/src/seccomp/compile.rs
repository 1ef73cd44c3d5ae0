//! From a table of system calls to a classic BPF program, as a balanced search over ranges of numbers.

use std::collections::BTreeMap;
use sys::seccomp::Instruction;

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails with this errno.
    Errno(u16),
}

/// When a system call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Whatever its arguments.
    Always(Action),
    /// Allowed if none of the bits of `mask` is set in the low half of the argument, else `EPERM`.
    NoBits {
        /// Which argument, from 0.
        argument: u8,
        /// The bits.
        mask: u32,
    },
    /// Allowed unless the low half of the argument is this value, else `EPERM`.
    Not {
        /// Which argument, from 0.
        argument: u8,
        /// The value.
        value: u32,
    },
    /// Allowed if the low half of the argument is one of these, else `EPERM`.
    OneOf {
        /// Which argument, from 0.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
}

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

// Operations of classic BPF, include/uapi/linux/bpf_common.h.
pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

// Offsets in `struct seccomp_data`, include/uapi/linux/seccomp.h.
pub(super) const NUMBER_AT: u32 = 0;
pub(super) const ARCH_AT: u32 = 4;
pub(super) const ARGUMENTS_AT: u32 = 16;

pub(super) fn statement(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

pub(super) fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

fn give(action: Action) -> Instruction {
    match action {
        Action::Allow => statement(RETURN, RET_ALLOW),
        Action::Errno(errno) => statement(RETURN, RET_ERRNO | u32::from(errno)),
    }
}

/// The program for `table`: number to rule. Within the numbers that the table spans, what is not in it fails
/// with `EPERM`; above them (system calls newer than the table, and the x32 numbers) with `ENOSYS`, so that
/// programs fall back to what they did before there was such a call. Another instruction set than `arch` is
/// killed.
pub fn compile(table: &BTreeMap<u32, Rule>, arch: u32) -> Vec<Instruction> {
    compile_for(&[(arch, table)])
}

/// The same for several instruction sets (`AUDIT_ARCH_*`), each with its table; any other is killed.
pub fn compile_for(tables: &[(u32, &BTreeMap<u32, Rule>)]) -> Vec<Instruction> {
    let mut program = vec![statement(LOAD, ARCH_AT)];
    for (arch, table) in tables {
        let blocks: Vec<_> = ranges(table).into_iter().map(|(start, rule)| (start, decide(rule))).collect();
        let body = search(&blocks);
        // Over the jump that leads past this instruction set's part.
        program.push(jump(JUMP_EQUAL, *arch, 1, 0));
        program.push(statement(JUMP, body.len() as u32 + 1));
        program.push(statement(LOAD, NUMBER_AT));
        program.extend(body);
    }
    program.push(statement(RETURN, RET_KILL_PROCESS));
    program
}

/// Where each rule begins to hold, in rising order from 0 on; neighbours differ.
fn ranges(table: &BTreeMap<u32, Rule>) -> Vec<(u32, Rule)> {
    let unlisted = Rule::Always(Action::Errno(EPERM));
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    let mut add = |start: u32, rule: Rule| {
        if ranges.last().is_none_or(|(_, last)| *last != rule) {
            ranges.push((start, rule));
        }
    };
    let mut next = 0;
    for (&number, &rule) in table {
        if number > next {
            add(next, unlisted);
        }
        add(number, rule);
        next = number + 1;
    }
    add(next, Rule::Always(Action::Errno(ENOSYS)));
    ranges
}

/// The code that finds the block of a number: each begins to hold where it is said, the first at 0.
pub(super) fn search(ranges: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let [_, _, ..] = ranges else {
        return ranges.first().map(|(_, block)| block.clone()).unwrap_or_default();
    };
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (start, low, high) = (high[0].0, search(low), search(high));
    let mut code = Vec::with_capacity(low.len() + high.len() + 2);
    match u8::try_from(low.len()) {
        Ok(skip) => code.push(jump(JUMP_AT_LEAST, start, skip, 0)),
        // Conditional jumps reach 255 instructions, plain ones any number.
        Err(_) => code.extend([jump(JUMP_AT_LEAST, start, 0, 1), statement(JUMP, low.len() as u32)]),
    }
    code.extend(low);
    code.extend(high);
    code
}

fn decide(rule: Rule) -> Vec<Instruction> {
    let load = |argument: u8| statement(LOAD, ARGUMENTS_AT + 8 * u32::from(argument) + LOW_HALF);
    let (refuse, allow) = (give(Action::Errno(EPERM)), give(Action::Allow));
    match rule {
        Rule::Always(action) => vec![give(action)],
        Rule::NoBits { argument, mask } => vec![load(argument), jump(JUMP_BITS, mask, 0, 1), refuse, allow],
        Rule::Not { argument, value } => vec![load(argument), jump(JUMP_EQUAL, value, 0, 1), refuse, allow],
        Rule::OneOf { argument, values } => {
            let mut code = vec![load(argument)];
            for (index, value) in values.iter().enumerate() {
                let to_allow = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
                code.push(jump(JUMP_EQUAL, *value, to_allow, 0));
            }
            code.extend([refuse, allow]);
            code
        }
    }
}

/// Where the low half of a 64-bit argument is.
pub(super) const LOW_HALF: u32 = if cfg!(target_endian = "big") { 4 } else { 0 };

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the program answers, by a tiny machine of the operations used here.
    pub(in super::super) fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER_AT => number,
            ARCH_AT => arch,
            _ => {
                let index = (offset - ARGUMENTS_AT) as usize;
                let shift = if index % 8 == LOW_HALF as usize { 0 } else { 32 };
                (arguments[index / 8] >> shift) as u32
            }
        };
        let (mut at, mut accumulator) = (0, 0);
        for _ in 0..program.len() {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            let branch = |truth: bool| usize::from(if truth { jump_true } else { jump_false });
            at += 1;
            match code {
                LOAD => accumulator = word(operand),
                JUMP => at += operand as usize,
                JUMP_EQUAL => at += branch(accumulator == operand),
                JUMP_AT_LEAST => at += branch(accumulator >= operand),
                0x25 => at += branch(accumulator > operand),
                0x54 => accumulator &= operand,
                JUMP_BITS => at += branch(accumulator & operand != 0),
                RETURN => return operand,
                other => panic!("operation {other:#x}"),
            }
        }
        panic!("no answer")
    }

    #[test]
    fn every_number_gets_its_rule() {
        let mut table = BTreeMap::new();
        for number in (0..1000).filter(|number| number % 3 != 1) {
            let errno = u16::try_from(number % 7).unwrap();
            table.insert(number, Rule::Always(if errno == 0 { Action::Allow } else { Action::Errno(errno) }));
        }
        let program = compile(&table, 7);
        assert!(program.len() > 600, "{} instructions do not try long jumps", program.len());
        for number in 0..1100 {
            let expected = match table.get(&number) {
                Some(Rule::Always(Action::Allow)) => RET_ALLOW,
                Some(Rule::Always(Action::Errno(errno))) => RET_ERRNO | u32::from(*errno),
                Some(rule) => panic!("{rule:?}"),
                None if number < 1000 => RET_ERRNO | u32::from(EPERM),
                None => RET_ERRNO | u32::from(ENOSYS),
            };
            assert_eq!(run(&program, 7, number, [0; 6]), expected, "number {number}");
        }
        assert_eq!(run(&program, 8, 0, [0; 6]), RET_KILL_PROCESS);
    }

    #[test]
    fn arguments() {
        let table = BTreeMap::from([
            (1, Rule::NoBits { argument: 0, mask: 0b110 }),
            (2, Rule::Not { argument: 1, value: 40 }),
            (3, Rule::OneOf { argument: 2, values: &[5, 6, 7] }),
        ]);
        let program = compile(&table, 7);
        let (allow, refuse) = (RET_ALLOW, RET_ERRNO | 1);
        let check = |number, arguments: [u64; 3], expected| {
            let [a, b, c] = arguments;
            assert_eq!(run(&program, 7, number, [a, b, c, 0, 0, 0]), expected, "{number} {arguments:?}");
        };
        check(1, [1, 0, 0], allow);
        check(1, [2, 0, 0], refuse);
        check(1, [5, 0, 0], refuse);
        check(2, [40, 39, 40], allow);
        check(2, [0, 40, 0], refuse);
        // The kernel looks at 32 bits of a socket's domain too.
        check(2, [0, 0x1_0000_0028, 0], refuse);
        for value in 4..=8 {
            check(3, [0, 0, value], if (5..=7).contains(&value) { allow } else { refuse });
        }
    }
}
