//! Instructions: which operation a name means, and what its operands are.
//!
//! Owns: the shapes of instructions. May not touch: what operations compute.

use super::operands::{Register, members, register_width, split};
use super::{Builder, END};
use crate::ops::{Form, Name, Type, arithmetic, compare, convert, exchange, integer};
use crate::program::{Kind, NONE};

/// Words in names that change nothing here, or that the operations look at by themselves. Any other word makes an
/// instruction unknown: better than to compute something else.
const WORDS: &str = " rn rz rm rp approx ftz full sat lo hi wide NaN cc l r wrap clamp ";

impl Builder<'_> {
    pub fn instruction(&mut self, text: &str) -> Result<(), String> {
        let (name_text, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let name = Name::new(name_text);
        let operands = split(rest);
        match name.base {
            "call" => self.call(text),
            "bra" => {
                self.branch(operands.first().ok_or("a branch without a label")?);
                Ok(())
            }
            "ret" if self.depth > 0 => {
                // The scopes of a function end before its last label: the branch finds it on the way out.
                self.branch(END);
                Ok(())
            }
            "ret" | "exit" => self.alone(Kind::Exit),
            "trap" | "brkpt" => self.alone(Kind::Abort),
            "membar" | "fence" | "nanosleep" | "prefetch" | "prefetchu" => self.alone(Kind::Plain),
            "bar" | "barrier" => self.barrier(&name, &operands),
            "shfl" | "vote" | "redux" | "match" => self.exchange(&name, &operands),
            "activemask" => {
                let d = self.destination(operands.first().ok_or("no operand")?, 32)?;
                // Not `Plain`: it wants to know exactly which lanes run it.
                self.emit(Kind::Memory, exchange::active).d = d.at;
                Ok(())
            }
            "ld" | "st" | "ldu" => self.access(&name, &operands),
            "atom" | "red" => self.atomic(&name, &operands),
            "cvta" => self.convert_address(&name, &operands),
            "isspacep" => self.is_in_space(&name, &operands),
            "mov" => self.mov(&name, &operands),
            "cvt" => self.convert(&name, &operands),
            "setp" => self.compare(&name, &operands),
            "set" => self.set(&name, &operands),
            _ => self.compute(&name, &operands),
        }
    }

    fn alone(&mut self, kind: Kind) -> Result<(), String> {
        self.emit(kind, exchange::nothing);
        Ok(())
    }

    fn barrier(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        if name.has("warp") {
            let members = self.source(operands.first().ok_or("no member mask")?, 32)?;
            self.emit(Kind::Sync, exchange::nothing).s[3] = members.at;
            return Ok(());
        }
        if !name.has("sync") || operands != ["0"] {
            return Err("unknown instruction: only barrier 0 of a whole block is known".to_owned());
        }
        self.barriers = true;
        self.alone(Kind::Barrier)
    }

    fn exchange(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        if !name.has("sync") {
            return Err("unknown instruction: exchanges without .sync are gone from PTX".to_owned());
        }
        let run = exchange::pick(name).ok_or("unknown instruction")?;
        let code = exchange::code(name).ok_or("unknown instruction")?;
        let &[d, ref sources @ .., mask] = operands else { return Err("operands are missing".to_owned()) };
        let (d, second) = d.split_once('|').map_or((d, None), |(d, p)| (d, Some(p)));
        let width = if name.base == "vote" && code != 0 { 1 } else { 32 };
        let (d, mask) = (self.destination(d, width)?, self.source(mask, 32)?);
        let second = second.map(|text| self.destination(text, 1)).transpose()?;
        let mut s = [d.at, 0, 0, mask.at];
        for (n, text) in sources.iter().take(3).enumerate() {
            let width = match name.base {
                "vote" => 1,
                "match" => name.first().bits(),
                _ => 32,
            };
            s[n] = self.source(text.trim_start_matches('!'), width)?.at;
        }
        if name.base == "vote" {
            s[1] = if sources.first().is_some_and(|text| text.starts_with('!')) { !0 } else { 0 };
        }
        let i = self.emit(Kind::Sync, run);
        (i.d, i.s, i.code) = (d.at, s, code);
        i.extra[0] = second.map_or(NONE, |register| register.at);
        Ok(())
    }

    fn put(&mut self, kind: Kind, form: &Form, d: Register, sources: &[Register]) {
        let i = self.emit_pair(kind, form.pair);
        i.d = d.at;
        for (place, source) in i.s.iter_mut().zip(sources) {
            *place = source.at;
        }
    }

    fn mov(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let &[d, a] = operands else { return Err("two operands are expected".to_owned()) };
        let (whole, kind) = (name.first().bits(), name.first());
        let parts = members(if d.starts_with('{') { d } else { a });
        let part = whole / parts.len() as u8;
        if d.starts_with('{') {
            let a = self.source(a, whole)?;
            let mut kind = Kind::Plain;
            for (place, text) in parts.iter().enumerate().filter(|(_, text)| **text != "_") {
                let form = convert::part(whole, part, place).ok_or("no such vector")?;
                let d = self.destination(text, part)?;
                self.put(kind, &form, d, &[a]);
                kind = Kind::Helper;
            }
            return Ok(());
        }
        let d = self.destination(d, whole)?;
        if a.starts_with('{') {
            let form = convert::join(whole, part).ok_or("no such vector")?;
            let sources = parts.iter().map(|text| self.source(text, part)).collect::<Result<Vec<_>, _>>()?;
            self.put(Kind::Plain, &form, d, &sources);
            return Ok(());
        }
        let plain = if kind == Type::Pred { "mov.pred".to_owned() } else { format!("mov.b{whole}") };
        let form = integer::pick(&Name::new(&plain)).ok_or("no such type")?;
        let a = self.source(a, whole)?;
        self.put(Kind::Plain, &form, d, &[a]);
        Ok(())
    }

    fn convert(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let (&[d, a], &[to, from]) = (operands, name.types.as_slice()) else {
            return Err("unknown instruction: a conversion of two types is expected".to_owned());
        };
        let d = self.any_destination(d, register_width(to))?;
        let a = self.any_source(a, register_width(from))?;
        let kind = if name.has("ftz") { Kind::Approximate } else { Kind::Plain };
        if let Some(form) = convert::common(name).filter(|form| form.widths == [d.width, a.width]) {
            self.put(kind, &form, d, &[a]);
            return Ok(());
        }
        let code = convert::pack(name, a.width, d.width).ok_or("unknown instruction")?;
        let i = self.emit_pair(kind, convert::GENERAL);
        (i.d, i.s[0], i.code) = (d.at, a.at, code);
        Ok(())
    }

    /// `setp.lt.and.f32 p|q, a, b, c`.
    fn compare(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let &[d, a, b, ref third @ ..] = operands else { return Err("operands are missing".to_owned()) };
        let (pair, width) = compare::pick(name.parts[0], name.first()).ok_or("unknown instruction")?;
        let (first, second) = d.split_once('|').unwrap_or((d, "_"));
        let (a, b) = (self.source(a, width)?, self.source(b, width)?);
        let mut code = compare::ALONE;
        let mut other = 0;
        if let Some(text) = third.first() {
            code = match name.parts[1] {
                "and" => compare::AND,
                "or" => compare::OR,
                "xor" => compare::XOR,
                _ => return Err("unknown instruction".to_owned()),
            };
            if text.starts_with('!') {
                code |= compare::NEGATED;
            }
            other = self.source(text.trim_start_matches('!'), 1)?.at;
        }
        let mut place =
            |text: &str| if text == "_" { Ok(NONE) } else { self.destination(text, 1).map(|r| r.at) };
        let (first, second) = (place(first)?, place(second)?);
        let kind = if name.has("ftz") { Kind::Approximate } else { Kind::Plain };
        if second != NONE {
            code |= compare::SECOND;
        }
        let i = self.emit_pair(kind, pair);
        (i.d, i.extra[0], i.s, i.code) = (first, second, [a.at, b.at, other, 0], code);
        Ok(())
    }

    /// `set`: a comparison whose outcome is a number, 1.0 or all ones.
    fn set(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let (&[d, a, b], &[to, from]) = (operands, name.types.as_slice()) else {
            return Err("unknown instruction".to_owned());
        };
        let (pair, width) = compare::pick(name.parts[0], from).ok_or("unknown instruction")?;
        let (a, b, p) = (self.source(a, width)?, self.source(b, width)?, self.new_register(1));
        let d = self.destination(d, register_width(to))?;
        let i = self.emit_pair(Kind::Plain, pair);
        (i.d, i.s) = (p.at, [a.at, b.at, 0, 0]);
        let one = match to {
            Type::F(32) => u64::from(1f32.to_bits()),
            Type::F(16) => 0x3c00,
            Type::Bf16 => 0x3f80,
            _ => !0,
        };
        let (one, zero) = (self.constant(one, d.width), self.constant(0, d.width));
        let form = compare::choice(&Name::new(&format!("selp.b{}", d.width))).ok_or("no such type")?;
        self.put(Kind::Helper, &form, d, &[one, zero, p]);
        Ok(())
    }

    /// An operation lane by lane.
    fn compute(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let pair = name.parts.iter().any(|word| word.ends_with("16x2"));
        if pair {
            return self.by_halves(name, operands);
        }
        let form = compare::choice(name).or_else(|| known_words(name).then(|| arithmetic(name)).flatten());
        let form = form.ok_or("unknown instruction")?;
        let saturates = name.has("sat");
        if operands.len() != form.widths.len() || (saturates && !name.first().is_float()) {
            return Err("unknown instruction: not with these operands".to_owned());
        }
        let d = self.destination(operands[0], form.widths[0])?;
        let sources =
            operands[1..].iter().zip(&form.widths[1..]).map(|(text, width)| self.source(text, *width));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let approximate = name.first().is_float() && name.approximate();
        self.put(if approximate { Kind::Approximate } else { Kind::Plain }, &form, d, &sources);
        let n = self.code.len() - 1;
        self.code[n].code = carry_code(name);
        if saturates {
            let kind = format!("saturate.f{}", d.width);
            let form = arithmetic(&Name::new(&kind)).ok_or("no such type")?;
            self.put(Kind::Helper, &form, d, &[d]);
        }
        Ok(())
    }

    /// Two halves in one register: each is taken out, worked on, and put back.
    fn by_halves(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let words: Vec<_> = name.parts.iter().map(|word| word.trim_end_matches("x2")).collect();
        let single = format!("{}.{}", name.base, words.join("."));
        let form = arithmetic(&Name::new(&single)).filter(|_| known_words(&Name::new(&single)));
        let form = form.ok_or("unknown instruction")?;
        let d = self.destination(operands.first().ok_or("operands are missing")?, 32)?;
        let mut made = vec![];
        for place in 0..2 {
            let part = convert::part(32, 16, place).ok_or("no such vector")?;
            let mut sources = vec![];
            for text in &operands[1..] {
                let (source, half) = (self.source(text, 32)?, self.new_register(16));
                self.put(Kind::Helper, &part, half, &[source]);
                sources.push(half);
            }
            let result = self.new_register(16);
            self.put(Kind::Helper, &form, result, &sources);
            made.push(result);
        }
        let join = convert::join(32, 16).ok_or("no such vector")?;
        self.put(Kind::Plain, &join, d, &made);
        Ok(())
    }
}

fn known_words(name: &Name<'_>) -> bool {
    name.parts.iter().all(|word| Type::parse(word).is_some() || WORDS.contains(&format!(" {word} ")))
}

fn carry_code(name: &Name<'_>) -> u32 {
    let takes = matches!(name.base, "addc" | "subc" | "madc");
    let leaves = name.has("cc");
    u32::from(takes) * integer::TAKES_CARRY + u32::from(leaves) * integer::LEAVES_CARRY
}
