//! A source file, parsed: what it imports and how long its functions are.

use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One file of a crate.
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
    /// Modules from the root of its crate to the file.
    pub module: Vec<String>,
    pub uses: Vec<Use>,
    pub functions: Vec<Function>,
    /// Lines of `let (a, b) = (x, y)`.
    pub packed: Vec<usize>,
}

/// A path that a file names.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// From the root of the crate (`crate`, module, …), or of another crate (`tokio`, …).
    pub path: Vec<String>,
    /// Below `#[cfg(test)]`.
    pub test: bool,
}

/// A function, a method or a closure's owner.
pub struct Function {
    pub line: usize,
    pub lines: usize,
    /// Parameters that are tuples taken apart.
    pub tuples: usize,
}

impl SourceFile {
    /// Reads the file at `path` below the folder `root` of a crate's sources.
    pub fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut module: Vec<String> = path
            .strip_prefix(root)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        Self::parse(path, module, text)
    }

    /// What a text says as the file of a module.
    pub fn parse(path: &Path, module: Vec<String>, text: String) -> Self {
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut found = Found { module: module.clone(), test: is_test(path), ..Found::default() };
        found.visit_file(&file);
        let Found { uses, functions, packed, .. } = found;
        Self { path: path.to_owned(), text, module, uses, functions, packed }
    }

    /// The module below the root of the crate in which it is; empty for the root itself.
    pub fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    pub fn is_test(&self) -> bool {
        is_test(&self.path)
    }
}

fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem == "tests" || stem.ends_with("_tests") || stem == "quadratic"
}

#[derive(Default)]
struct Found {
    module: Vec<String>,
    test: bool,
    uses: Vec<Use>,
    functions: Vec<Function>,
    packed: Vec<usize>,
}

impl Found {
    /// Keeps a path as it is seen from the root of its crate.
    fn name(&mut self, segments: Vec<String>) {
        let up = segments.iter().take_while(|segment| *segment == "super").count();
        let path = match segments.first().map(String::as_str) {
            Some("super") => {
                let base = &self.module[..self.module.len().saturating_sub(up)];
                let crate_path =
                    std::iter::once("crate").chain(base.iter().map(String::as_str)).map(str::to_owned);
                crate_path.chain(segments[up..].iter().cloned()).collect()
            }
            Some("self") => {
                let own = std::iter::once("crate".to_owned()).chain(self.module.iter().cloned());
                own.chain(segments[1..].iter().cloned()).collect()
            }
            Some(_) if segments.len() > 1 => segments,
            _ => return,
        };
        self.uses.push(Use { path, test: self.test });
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| before.iter().cloned().chain([ident.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.name(with(&name.ident)),
            syn::UseTree::Rename(name) => self.name(with(&name.ident)),
            syn::UseTree::Glob(_) => self.name(before.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let tuple = |input: &&syn::FnArg| matches!(input, syn::FnArg::Typed(typed) if matches!(*typed.pat, syn::Pat::Tuple(_)));
        let tuples = signature.inputs.iter().filter(tuple).count();
        self.functions.push(Function { line: first, lines: last - first + 1, tuples });
    }

    /// Paths in what a macro is given, which is no syntax before it is expanded.
    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path);
                    colons = 0;
                    if let proc_macro2::TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        self.name(std::mem::take(path));
    }

    /// Below an item with these attributes.
    fn below(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test |= attributes.iter().any(cfg_test);
        visit(self);
        self.test = before;
    }
}

/// A tuple that is written out, or `Default::default()` for all of one.
fn is_packed(value: &syn::Expr) -> bool {
    let default = |call: &syn::ExprCall| matches!(&*call.func, syn::Expr::Path(path) if path.path.segments.len() == 2 && path.path.segments[0].ident == "Default");
    matches!(value, syn::Expr::Tuple(_)) || matches!(value, syn::Expr::Call(call) if default(call))
}

/// `#[cfg(test)]`, or `test` among other conditions.
fn cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args_with(Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated)
            .is_ok_and(|metas| metas.iter().any(|meta| meta.path().is_ident("test")))
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.below(&item.attrs, |found| found.tree(&item.tree, &[]));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.below(&item.attrs, |found| {
            found.module.push(item.ident.to_string());
            visit::visit_item_mod(found, item);
            found.module.pop();
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.below(&item.attrs, |found| {
            found.function(&item.sig, &item.block);
            visit::visit_item_fn(found, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.below(&item.attrs, |found| visit::visit_item_impl(found, item));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let tuples = matches!(local.pat, syn::Pat::Tuple(_))
            && local.init.as_ref().is_some_and(|init| is_packed(&init.expr));
        if tuples {
            self.packed.push(local.span().start().line);
        }
        visit::visit_local(self, local);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
