//! From the text of a function to a program.
//!
//! Owns: names of registers, symbols and labels; the layout of the register file. May not touch: what an operation
//! computes; the running of programs.
//!
//! A call is put in the caller's place, its body decoded anew with its parameters in the caller's local memory:
//! the kernels of nvcc call little, and lanes then need no stack of places.

mod instructions;
mod memory;
mod operands;
mod reuse;
mod uniform;

use crate::ops::exchange;
use crate::program::{Ins, Kind, NONE, Pair, Program, Space, Special};
use crate::text::{Function, Piece, Source, pieces, variable};
use operands::Register;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

/// Calls deeper than this are taken for a recursion, which this scheme cannot hold.
const DEEPEST: usize = 16;

/// Where a name lies.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    space: Space,
    address: u64,
}

/// The names that a pair of braces holds.
#[derive(Default)]
struct Scope {
    registers: HashMap<String, Register>,
    /// Declared as `%r<40>`: prefix, width and count; a register gets a place when it is first used.
    families: Vec<(String, u8, usize)>,
    symbols: HashMap<String, Symbol>,
    labels: HashMap<String, u32>,
    /// Branches whose label is not known yet.
    open: Vec<(usize, String)>,
}

/// A program in the making.
struct Builder<'a> {
    source: &'a Source,
    globals: &'a HashMap<String, u64>,
    code: Vec<Ins>,
    specials: Vec<(Special, u32)>,
    known: HashMap<Special, u32>,
    /// Constants that hold the address of dynamic shared memory, which is known last.
    dynamic: Vec<usize>,
    scopes: Vec<Scope>,
    /// All registers.
    made: Vec<Register>,
    bytes: usize,
    local: usize,
    shared: usize,
    shared_names: HashMap<String, u64>,
    sites: u32,
    sequential: bool,
    barriers: bool,
    depth: usize,
    line: u32,
    guard: u32,
    flip: u32,
}

/// Makes a kernel ready to run; `globals` are the addresses of the module's variables.
pub fn program(source: &Source, globals: &HashMap<String, u64>, name: &str) -> Result<Program, String> {
    let function = source.functions.get(name).ok_or_else(|| format!("no kernel {name}"))?;
    let mut builder = Builder::new(source, globals);
    let mut scope = Scope::default();
    for (variable, parameter) in function.parameters.iter().zip(parameters(function).0) {
        let symbol = Symbol { space: Space::Parameter, address: parameter.at as u64 };
        scope.symbols.insert(variable.name.clone(), symbol);
    }
    builder.function(function, scope)?;
    Ok(builder.finish(name))
}

/// The places of a kernel's parameters, and the bytes of all.
pub fn parameters(function: &Function) -> (Vec<crate::program::Parameter>, usize) {
    let (mut made, mut end) = (vec![], 0usize);
    for variable in &function.parameters {
        let at = end.next_multiple_of(variable.align.max(1));
        made.push(crate::program::Parameter { at, size: variable.size });
        end = at + variable.size;
    }
    (made, end)
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source, globals: &'a HashMap<String, u64>) -> Self {
        Self {
            source,
            globals,
            code: vec![],
            specials: vec![],
            known: HashMap::new(),
            dynamic: vec![],
            scopes: vec![],
            made: vec![],
            // At 0 lies a register that nobody writes: unused operands point there.
            bytes: 64,
            local: 0,
            shared: 0,
            shared_names: HashMap::new(),
            sites: 0,
            sequential: false,
            barriers: false,
            depth: 0,
            line: 0,
            guard: NONE,
            flip: 0,
        }
    }

    fn finish(mut self, name: &str) -> Program {
        let dynamic = self.shared.next_multiple_of(16) as u64;
        for n in self.dynamic {
            let width = if let Special::Constant(_, width) = self.specials[n].0 { width } else { 64 };
            self.specials[n].0 = Special::Constant(dynamic, width);
        }
        uniform::mark(&mut self.code, &self.specials);
        reuse::places(&mut self.code, &self.made, &self.specials);
        Program {
            name: name.to_owned(),
            code: std::mem::take(&mut self.code),
            specials: self.specials,
            register_bytes: self.bytes,
            local: self.local,
            shared: self.shared,
            sites: self.sites as usize,
            sequential: self.sequential,
            barriers: self.barriers,
            pace: AtomicU64::new(0),
        }
    }

    /// Decodes a body, at the end of which a kernel's lanes return.
    fn function(&mut self, function: &Function, scope: Scope) -> Result<(), String> {
        let outer = std::mem::replace(&mut self.scopes, vec![scope]);
        for (line, piece) in pieces(&function.body, function.first_line) {
            self.line = line as u32;
            match piece {
                Piece::Open => self.scopes.push(Scope::default()),
                Piece::Close => self.close()?,
                Piece::Label(label) => {
                    let here = self.code.len() as u32;
                    self.scope().labels.insert(label, here);
                }
                Piece::Statement(text) => {
                    self.statement(&text).map_err(|why| format!("PTX line {line}: `{text}`: {why}"))?;
                }
            }
        }
        (self.guard, self.flip) = (NONE, 0);
        let end = self.code.len() as u32;
        self.scope().labels.insert(END.to_owned(), end);
        if self.depth == 0 {
            self.emit(Kind::Exit, exchange::nothing);
        }
        while !self.scopes.is_empty() {
            self.close()?;
        }
        self.scopes = outer;
        Ok(())
    }

    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// Ends a scope: its branches find their labels here or further out.
    fn close(&mut self) -> Result<(), String> {
        let Some(scope) = self.scopes.pop() else { return Ok(()) };
        for (n, label) in scope.open {
            match scope.labels.get(&label) {
                Some(place) => self.code[n].target = *place,
                None if self.scopes.is_empty() => return Err(format!("no label {label}")),
                None => self.scope().open.push((n, label)),
            }
        }
        Ok(())
    }

    fn statement(&mut self, text: &str) -> Result<(), String> {
        if let Some(rest) = text.strip_prefix(".reg") {
            return self.registers(rest.trim());
        }
        if let Some(rest) = text.strip_prefix(".local").or_else(|| text.strip_prefix(".param")) {
            let made = variable(rest);
            let address = self.slot(made.size, made.align);
            self.scope().symbols.insert(made.name, Symbol { space: Space::Local, address });
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix(".shared") {
            let made = variable(rest);
            let address = self.share(&made);
            self.scope().symbols.insert(made.name, Symbol { space: Space::Shared, address });
            return Ok(());
        }
        if text.starts_with(".pragma") {
            return Ok(());
        }
        if text.starts_with('.') {
            return Err("unknown directive".to_owned());
        }
        let text = self.guarded(text)?;
        self.instruction(text)
    }

    /// Takes `@%p` or `@!%p` off an instruction.
    fn guarded<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let Some(rest) = text.strip_prefix('@') else {
            (self.guard, self.flip) = (NONE, 0);
            return Ok(text);
        };
        let (name, rest) = rest.split_once(char::is_whitespace).ok_or("a guard without an instruction")?;
        let register = self.register(name.trim_start_matches('!')).ok_or("unknown guard")?;
        if register.width != 1 {
            return Err("the guard is not a predicate".to_owned());
        }
        (self.guard, self.flip) = (register.at, if name.starts_with('!') { !0 } else { 0 });
        Ok(rest.trim())
    }

    /// Declares registers: `.b32 %r<40>, %x`.
    fn registers(&mut self, text: &str) -> Result<(), String> {
        let (kind, names) = text.split_once(char::is_whitespace).ok_or("a declaration without names")?;
        let kind = crate::ops::Type::parse(kind.trim_start_matches('.')).ok_or("unknown register type")?;
        // A register of 8 bits is kept in one of 16: operations know no narrower ones.
        let width = if kind.bits() == 8 { 16 } else { kind.bits() };
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if let Some((prefix, count)) = name.split_once('<') {
                let count = count.trim_end_matches('>').parse().map_err(|_| "not a count")?;
                self.scope().families.push((prefix.to_owned(), width, count));
            } else {
                let register = self.new_register(width);
                self.scope().registers.insert(name.to_owned(), register);
            }
        }
        Ok(())
    }

    /// Room in local memory.
    fn slot(&mut self, size: usize, align: usize) -> u64 {
        let at = self.local.next_multiple_of(align.max(8));
        self.local = at + size;
        at as u64
    }

    /// Room in shared memory, once for each variable.
    fn share(&mut self, variable: &crate::text::Variable) -> u64 {
        if let Some(address) = self.shared_names.get(&variable.name) {
            return *address;
        }
        let at = self.shared.next_multiple_of(variable.align.max(1));
        self.shared = at + variable.size;
        self.shared_names.insert(variable.name.clone(), at as u64);
        at as u64
    }

    fn emit(&mut self, kind: Kind, run: crate::program::Run) -> &mut Ins {
        self.emit_pair(kind, Pair::alone(run))
    }

    fn emit_pair(&mut self, kind: Kind, Pair { run, one }: Pair) -> &mut Ins {
        let n = self.code.len();
        self.code.push(Ins {
            run,
            together: run,
            one,
            kind,
            space: Space::Generic,
            wide: true,
            guard: self.guard,
            flip: self.flip,
            d: NONE,
            s: [0; 4],
            extra: [NONE; 4],
            code: 0,
            offset: 0,
            target: 0,
            line: self.line,
        });
        &mut self.code[n]
    }

    fn branch(&mut self, label: &str) {
        let n = self.code.len();
        self.emit(Kind::Branch, exchange::nothing);
        self.scope().open.push((n, label.to_owned()));
    }

    /// `call (result), name, (arguments)`.
    fn call(&mut self, text: &str) -> Result<(), String> {
        let text = text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest).trim();
        let (results, rest) = match text.strip_prefix('(') {
            Some(inner) => inner.split_once(')').ok_or("a call without an end")?,
            None => ("", text),
        };
        let rest = rest.trim_start_matches([',', ' ']);
        let (name, arguments) = rest.split_once(',').unwrap_or((rest, ""));
        if name.trim() == "__assertfail" {
            self.emit(Kind::Abort, exchange::nothing).code = 1;
            return Ok(());
        }
        let source = self.source;
        let function = source.functions.get(name.trim()).ok_or("a call of a function without a body")?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("calls are too deep".to_owned());
        }
        let mut scope = Scope::default();
        let names = |text: &str| -> Vec<String> {
            let text = text.trim().trim_start_matches('(').trim_end_matches(')').to_owned();
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        };
        let given = names(results).into_iter().chain(names(arguments));
        for (variable, given) in function.results.iter().chain(&function.parameters).zip(given) {
            let symbol = self.symbol(&given).ok_or_else(|| format!("unknown argument {given}"))?;
            scope.symbols.insert(variable.name.clone(), symbol);
        }
        let skipped = self.step_over();
        self.function(function, scope)?;
        self.depth -= 1;
        if let Some(n) = skipped {
            self.code[n].target = self.code.len() as u32;
        }
        Ok(())
    }

    /// Lanes that a guarded call does not take go around its body.
    fn step_over(&mut self) -> Option<usize> {
        if self.guard == NONE {
            return None;
        }
        let n = self.code.len();
        self.flip = !self.flip;
        self.emit(Kind::Branch, exchange::nothing);
        (self.guard, self.flip) = (NONE, 0);
        Some(n)
    }
}

/// The label behind the last instruction of a function.
const END: &str = "<end>";
