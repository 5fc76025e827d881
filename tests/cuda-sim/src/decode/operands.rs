//! Operands: registers, constants, addresses, vectors.
//!
//! Owns: how an operand's text becomes a place in the register file. May not touch: operations.

use super::{Builder, Symbol};
use crate::ops::Type;
use crate::program::{Space, Special};
use crate::text::literal;

/// A place in the register file; the width of a predicate is 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    pub at: u32,
    pub width: u8,
}

impl Builder<'_> {
    pub fn new_register(&mut self, width: u8) -> Register {
        // Each lane has its bits side by side; a predicate has one bit of each lane.
        let bytes = if width == 1 { 4 } else { 32 * usize::from(width) / 8 };
        let at = self.bytes.next_multiple_of(bytes.min(64));
        self.bytes = at + bytes;
        let made = Register { at: at as u32, width };
        self.made.push(made);
        made
    }

    /// A declared register, by name.
    pub fn register(&mut self, name: &str) -> Option<Register> {
        let mut found = None;
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            if let Some(register) = scope.registers.get(name) {
                return Some(*register);
            }
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let number: Option<usize> = name[stem.len()..].parse().ok();
            let family =
                scope.families.iter().find(|family| family.0 == stem && number.is_some_and(|n| n < family.2));
            if let Some((_, width, _)) = family {
                found = Some((depth, *width));
                break;
            }
        }
        let (depth, width) = found?;
        let register = self.new_register(width);
        self.scopes[depth].registers.insert(name.to_owned(), register);
        Some(register)
    }

    pub fn symbol(&mut self, name: &str) -> Option<Symbol> {
        let scoped = self.scopes.iter().rev().find_map(|scope| scope.symbols.get(name));
        if let Some(symbol) = scoped {
            return Some(*symbol);
        }
        if let Some(address) = self.globals.get(name) {
            return Some(Symbol { space: Space::Global, address: *address });
        }
        let variable = self.source.shared.iter().find(|variable| variable.name == name)?.clone();
        Some(Symbol { space: Space::Shared, address: self.share(&variable) })
    }

    pub fn special(&mut self, special: Special) -> Register {
        let width = if let Special::Constant(_, width) = special { width } else { 32 };
        if let Some(at) = self.known.get(&special) {
            return Register { at: *at, width };
        }
        let register = self.new_register(width);
        self.specials.push((special, register.at));
        self.known.insert(special, register.at);
        register
    }

    pub fn constant(&mut self, bits: u64, width: u8) -> Register {
        let mask = if width == 64 { !0 } else { (1 << width) - 1 };
        self.special(Special::Constant(bits & mask, width))
    }

    /// The address of dynamic shared memory: filled in when the static part is known.
    fn dynamic_address(&mut self, width: u8) -> Register {
        let register = self.new_register(width);
        self.dynamic.push(self.specials.len());
        self.specials.push((Special::Constant(0, width), register.at));
        register
    }

    /// A source operand of this width.
    pub fn source(&mut self, text: &str, width: u8) -> Result<Register, String> {
        let register = self.any_source(text, width)?;
        if register.width == width {
            return Ok(register);
        }
        Err(format!("{text} has {} bits where {width} are read", register.width))
    }

    /// A source operand of its own width; a constant gets this one.
    pub fn any_source(&mut self, text: &str, width: u8) -> Result<Register, String> {
        if let Some(register) = self.register(text) {
            return Ok(register);
        }
        if let Some(special) = special_register(text) {
            return Ok(self.special(special));
        }
        if let Some(bits) = literal(text) {
            // A predicate constant is true where it is not zero.
            return Ok(self.constant(if width == 1 { u64::from(bits != 0) } else { bits }, width));
        }
        let (name, offset) = split_offset(text)?;
        if self.source.dynamic_shared.iter().any(|dynamic| dynamic == name) && offset == 0 {
            return Ok(self.dynamic_address(width));
        }
        let symbol = self.symbol(name).ok_or_else(|| format!("unknown operand {text}"))?;
        Ok(self.constant(symbol.address.wrapping_add(offset as u64), width))
    }

    /// A destination of this width; `_` is a register that nobody reads.
    pub fn destination(&mut self, text: &str, width: u8) -> Result<Register, String> {
        let register = self.any_destination(text, width)?;
        if register.width == width {
            return Ok(register);
        }
        Err(format!("{text} has {} bits where {width} are written", register.width))
    }

    pub fn any_destination(&mut self, text: &str, width: u8) -> Result<Register, String> {
        if text == "_" {
            return Ok(self.new_register(width));
        }
        self.register(text).ok_or_else(|| format!("unknown register {text}"))
    }

    /// `[register+offset]` or `[symbol+offset]`: base, offset, and the space that a symbol lies in.
    pub fn address(&mut self, text: &str) -> Result<(Register, i64, Option<Space>), String> {
        let inside =
            text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or("not an address")?;
        let (name, offset) = split_offset(inside.trim())?;
        if let Some(register) = self.register(name) {
            return Ok((register, offset, None));
        }
        if let Some(address) = literal(name) {
            return Ok((self.constant(address, 64), offset, None));
        }
        if self.source.dynamic_shared.iter().any(|dynamic| dynamic == name) {
            return Ok((self.dynamic_address(64), offset, Some(Space::Shared)));
        }
        let symbol = self.symbol(name).ok_or_else(|| format!("unknown symbol {name}"))?;
        Ok((self.constant(symbol.address, 64), offset, Some(symbol.space)))
    }
}

/// `name+offset`, where the offset may be negative.
fn split_offset(text: &str) -> Result<(&str, i64), String> {
    let Some((name, offset)) = text.split_once('+') else { return Ok((text.trim(), 0)) };
    let offset = literal(offset.trim()).ok_or_else(|| format!("not an offset: {offset}"))?;
    Ok((name.trim(), offset as i64))
}

fn special_register(text: &str) -> Option<Special> {
    if text == "WARP_SZ" {
        return Some(Special::Constant(32, 32));
    }
    let name = text.strip_prefix('%')?;
    let (base, axis) = name.split_once('.').map_or((name, 0), |(base, axis)| (base, axis_number(axis)));
    match base {
        "tid" => Some(Special::Thread(axis)),
        "ntid" => Some(Special::BlockSize(axis)),
        "ctaid" => Some(Special::Block(axis)),
        "nctaid" => Some(Special::GridSize(axis)),
        "laneid" => Some(Special::Lane),
        "warpid" => Some(Special::Warp),
        "lanemask_eq" => Some(Special::LaneMask(0, true)),
        "lanemask_lt" => Some(Special::LaneMask(-1, false)),
        "lanemask_le" => Some(Special::LaneMask(-1, true)),
        "lanemask_gt" => Some(Special::LaneMask(1, false)),
        "lanemask_ge" => Some(Special::LaneMask(1, true)),
        _ => None,
    }
}

fn axis_number(axis: &str) -> u8 {
    match axis {
        "y" => 1,
        "z" => 2,
        _ => 0,
    }
}

/// Cuts operands at commas that are not inside brackets or braces.
pub fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (vec![], 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The members of `{a, b}`, or the operand alone.
pub fn members(text: &str) -> Vec<&str> {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(inside) => inside.split(',').map(str::trim).collect(),
        None => vec![text],
    }
}

/// The register width of a type: nothing is narrower than 16 bits but predicates.
pub fn register_width(kind: Type) -> u8 {
    if kind.bits() == 8 { 16 } else { kind.bits() }
}
