//! Loads, stores, atomic operations, and conversions of addresses.
//!
//! Owns: their operands and spaces. May not touch: addresses at run time.

use super::Builder;
use super::operands::{members, register_width};
use crate::ops::atomic::pick_atomic;
use crate::ops::memory::{LOCAL_WINDOW, SHARED_WINDOW, pick};
use crate::ops::{Name, Type, integer};
use crate::program::{Kind, NONE, Space};

/// The space in an instruction's name.
fn space_of(name: &Name<'_>) -> Option<Space> {
    name.parts.iter().find_map(|word| match *word {
        "global" | "const" => Some(Space::Global),
        "shared" | "shared::cta" => Some(Space::Shared),
        "local" => Some(Space::Local),
        "param" => Some(Space::Parameter),
        _ => None,
    })
}

impl Builder<'_> {
    /// Where an access goes: a function's parameters lie in its caller's local memory.
    fn resolve(&self, named: Option<Space>, symbol: Option<Space>) -> Space {
        match (named, symbol) {
            (Some(Space::Parameter), Some(space)) => space,
            (Some(Space::Parameter), None) if self.depth > 0 => Space::Local,
            (Some(space), _) => space,
            (None, _) => Space::Generic,
        }
    }

    fn site(&mut self) -> u32 {
        self.sites += 1;
        self.sites - 1
    }

    pub fn access(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let is_load = name.base == "ld";
        let &[first, second] = operands else { return Err("two operands are expected".to_owned()) };
        let (address, values) = if is_load { (second, first) } else { (first, second) };
        let (base, offset, symbol) = self.address(address)?;
        let space = self.resolve(space_of(name), symbol);
        let kind = *name.types.last().ok_or("no type")?;
        let (mut registers, mut width) = ([NONE; 4], None);
        let values = members(values);
        if values.len() > 4 {
            return Err("a vector of more than four".to_owned());
        }
        for (n, text) in values.iter().enumerate() {
            let own = register_width(kind);
            let register =
                if is_load { self.any_destination(text, own) } else { self.any_source(text, own) }?;
            if *width.get_or_insert(register.width) != register.width {
                return Err("registers of different widths".to_owned());
            }
            registers[n] = register.at;
        }
        let mut pair = width
            .and_then(|width| pick(is_load, kind, width))
            .ok_or("no access of this type and register")?;
        let site = self.site();
        if matches!(space, Space::Generic | Space::Local) {
            // Lanes have local memories of their own: one address is not one value.
            pair.one = None;
        }
        let i = self.emit_pair(Kind::Memory, pair);
        (i.space, i.wide, i.s[0], i.offset) = (space, base.width == 64, base.at, offset);
        // A load's first destination tells it from a store.
        i.d = if is_load { registers[0] } else { NONE };
        (i.extra, i.code, i.target) = (registers, values.len() as u32, site);
        Ok(())
    }

    pub fn atomic(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        if name.has("v2") || name.has("v4") {
            return Err("vectors of atomic operations".to_owned());
        }
        let (run, code, width) = pick_atomic(name).ok_or("no atomic operation of this type")?;
        let (d, operands) = match (name.base, operands) {
            ("red", rest) => (self.new_register(width), rest),
            (_, [d, rest @ ..]) => (self.destination(d, width)?, rest),
            _ => return Err("operands are missing".to_owned()),
        };
        let &[address, value, ref other @ ..] = operands else {
            return Err("operands are missing".to_owned());
        };
        let (base, offset, symbol) = self.address(address)?;
        let space = self.resolve(space_of(name), symbol);
        let value = self.source(value, width)?;
        let other = match other.first() {
            Some(text) => self.source(text, width)?,
            None => value,
        };
        self.sequential |= space != Space::Shared;
        let site = self.site();
        let i = self.emit(Kind::Memory, run);
        (i.space, i.wide, i.offset, i.target, i.code) = (space, base.width == 64, offset, site, code);
        (i.d, i.s) = (d.at, [base.at, value.at, other.at, 0]);
        Ok(())
    }

    /// `cvta`: generic addresses of shared and local memory carry a mark.
    pub fn convert_address(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let &[d, a] = operands else { return Err("two operands are expected".to_owned()) };
        let mark = match space_of(name) {
            Some(Space::Global) => 0,
            Some(Space::Shared) => SHARED_WINDOW,
            Some(Space::Local) => LOCAL_WINDOW,
            _ => return Err("a generic address of this space".to_owned()),
        };
        let (d, a) = (self.destination(d, 64)?, self.source(a, 64)?);
        let (how, bits) = if name.has("to") { ("and.b64", !mark) } else { ("or.b64", mark) };
        let form = integer::pick(&Name::new(how)).ok_or("no such operation")?;
        let mark = self.constant(bits, 64);
        let i = self.emit_pair(Kind::Plain, form.pair);
        (i.d, i.s) = (d.at, [a.at, mark.at, 0, 0]);
        Ok(())
    }

    /// Whether a generic address lies in a space is told by its mark.
    pub fn is_in_space(&mut self, name: &Name<'_>, operands: &[&str]) -> Result<(), String> {
        let &[d, a] = operands else { return Err("two operands are expected".to_owned()) };
        let (mask, wanted) = match space_of(name) {
            Some(Space::Global) => (SHARED_WINDOW | LOCAL_WINDOW, 0),
            Some(Space::Shared) => (SHARED_WINDOW, SHARED_WINDOW),
            Some(Space::Local) => (LOCAL_WINDOW, LOCAL_WINDOW),
            _ => return Err("a test for this space".to_owned()),
        };
        let (d, a) = (self.destination(d, 1)?, self.source(a, 64)?);
        let (mask, wanted, masked) =
            (self.constant(mask, 64), self.constant(wanted, 64), self.new_register(64));
        let form = integer::pick(&Name::new("and.b64")).ok_or("no such operation")?;
        let i = self.emit_pair(Kind::Helper, form.pair);
        (i.d, i.s) = (masked.at, [a.at, mask.at, 0, 0]);
        let (pair, _) = crate::ops::compare::pick("eq", Type::U(64)).ok_or("no such comparison")?;
        let i = self.emit_pair(Kind::Plain, pair);
        (i.d, i.s) = (d.at, [masked.at, wanted.at, 0, 0]);
        Ok(())
    }
}
