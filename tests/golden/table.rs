//! What each form of a measure is called in `expected.json`, and how near it must come.
#![allow(clippy::unwrap_used)]

use serde_json::Value;

/// How near a number must come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Outputs, norms, products of them: a few roundings.
    Plain,
    /// Differences of scores.
    Margin,
    /// Differences of losses.
    Difference,
    /// Differences of losses that are next to equal: uniform noise of a thousandth.
    Slight,
    /// Radii at which a difference of losses has a stated value, and their spread.
    Crossing,
    /// Finite differences of gradients.
    Curvature,
    /// Draws beside a basis that six products made.
    Sketched,
    /// The result of another optimizer.
    Optimizer,
}

/// A found and an expected number.
pub type Pair = (Value, Value);

/// Pairs of a reading and what is expected of the snapshot.
type Pairs = dyn Fn(&Value, &Value) -> Vec<Pair>;

/// A measure with parameters that tell it from its other forms.
pub struct Form {
    /// As it is typed.
    pub request: String,
    /// How near.
    pub class: Class,
    /// What is compared.
    pub pairs: Box<Pairs>,
}

impl Form {
    /// Whether the reading is of this form: its measure, and every parameter that the form names.
    pub fn fits(&self, reading: &Value) -> bool {
        let (name, rest) = self.request.split_once(':').unwrap_or((&self.request, ""));
        let same = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap();
            match &reading["parameters"][key] {
                Value::Number(number) => number.as_f64() == value.parse().ok(),
                Value::Bool(flag) => flag.to_string() == value,
                other => other == value,
            }
        };
        reading["measure"] == name && rest.split(',').filter(|pair| !pair.is_empty()).all(same)
    }
}

fn form(
    request: impl Into<String>,
    class: Class,
    pairs: impl Fn(&Value, &Value) -> Vec<Pair> + 'static,
) -> Form {
    Form { request: request.into(), class, pairs: Box::new(pairs) }
}

fn zip(found: &Value, expected: &Value) -> Vec<Pair> {
    let (found, expected) = (found.as_array().unwrap(), expected.as_array().unwrap());
    assert_eq!(found.len(), expected.len());
    found.iter().cloned().zip(expected.iter().cloned()).collect()
}

/// All numbers of nested lists.
fn flat(value: &Value) -> Value {
    let rows = value.as_array().unwrap().iter();
    rows.flat_map(|row| row.as_array().unwrap().clone()).collect::<Vec<Value>>().into()
}

/// The value against one number.
fn value(request: &str, class: Class, place: &'static str) -> Form {
    form(request, class, move |reading, expected| {
        vec![(reading["value"].clone(), expected.pointer(place).unwrap().clone())]
    })
}

/// Draws against the values of an estimate; as many as there are.
fn draws(request: &str, class: Class, key: &'static str, expected: &Value) -> Form {
    let count = expected[key]["values"].as_array().map_or(0, Vec::len);
    let gap = if request.contains(':') { "," } else { ":" };
    form(format!("{request}{gap}draws={count}"), class, move |reading, expected| {
        zip(&reading["draws"], &expected[key]["values"])
    })
}

/// Parts by our name against numbers under theirs.
fn parts(request: &str, class: Class, names: &'static [(&'static str, &'static str)]) -> Form {
    form(request, class, move |reading, expected| {
        let pair = |(ours, theirs): &(&str, &str)| {
            let expected = expected.pointer(theirs).unwrap_or_else(|| panic!("{theirs} is not expected"));
            (reading["parts"][ours].clone(), expected.clone())
        };
        names.iter().map(pair).collect()
    })
}

/// Numbers of every tensor under `weights.tensors`, where both have them.
fn tensors(reading: &Value, expected: &Value, names: &[(&str, &str)]) -> Vec<Pair> {
    let found = reading["tensors"].as_object().unwrap();
    let both = found.iter().flat_map(|(tensor, row)| {
        let expected = &expected["weights"]["tensors"][tensor];
        names.iter().map(move |(ours, theirs)| (row[ours].clone(), expected[theirs].clone()))
    });
    let both: Vec<Pair> = both.filter(|(found, expected)| !(found.is_null() && expected.is_null())).collect();
    assert!(both.len() >= found.len());
    both
}

/// The same number of each tensor, and of the whole.
fn whole_and_tensors(request: &str, names: &'static [(&'static str, &'static str)]) -> Form {
    form(request, Class::Plain, move |reading, expected| {
        let whole = |(ours, theirs): &(&str, &str)| {
            (reading["parts"][ours].clone(), expected["weights"][theirs].clone())
        };
        let mut all: Vec<Pair> = names.iter().map(whole).collect();
        all.extend(tensors(reading, expected, names));
        all
    })
}

/// Every form that `expected` has numbers for. `smooth` is false for networks with kinks, which have no finite
/// differences to compare.
pub fn forms(expected: &Value, smooth: bool) -> Vec<Form> {
    let mut all = of_outputs_and_weights();
    let has = |key: &str| expected.get(key).is_some();
    all.extend(of_ascents(expected));
    all.extend(of_perturbations(expected));
    if has("update") {
        let names = &[("l2", "/update/l2"), ("relative", "/update/relative"), ("cosine", "/update/cosine")];
        all.push(parts("update", Class::Plain, names));
    }
    if has("norm_bounds") {
        all.push(form("norm_bounds", Class::Plain, norm_bounds));
        all.push(form("spectrum", Class::Plain, |reading, expected| tensors(reading, expected, SPECTRUM)));
    }
    if has("pac_bayes") {
        all.push(parts("pac_bayes", Class::Plain, PAC_BAYES));
    }
    if expected.pointer("/gradients/fisher_trace").is_some() {
        all.push(parts("gradient_noise:exact=true", Class::Plain, NOISE));
        all.push(parts("fisher_trace:exact=true", Class::Plain, FISHER));
    }
    let noises = [("exact=true", "gradient_noise_exact"), ("exact=false,batch=8", "gradient_noise")];
    for (options, key) in noises.into_iter().filter(|(_, key)| has(key)) {
        let pairs = move |reading: &Value, expected: &Value| gradient_noise(reading, &expected[key]);
        // A square less its own noise: what cancels leaves its rounding.
        all.push(form(format!("gradient_noise:{options}"), Class::Difference, pairs));
    }
    if has("fisher_sampled") {
        all.push(draws("fisher_trace:exact=false", Class::Plain, "fisher_sampled", expected));
    }
    if has("gradients") {
        all.push(value("gradient_norm", Class::Plain, "/gradients/grad_norm"));
    }
    if has("critical_update") {
        all.push(parts("critical:direction=update,tolerance=0.01", Class::Plain, CRITICAL_UPDATE));
        all.push(parts("critical:direction=gradient,tolerance=0.01", Class::Plain, CRITICAL_GRADIENT));
    }
    if has("landscape") {
        all.extend(of_landscape(expected));
    }
    if smooth {
        all.extend(of_curvature(expected));
    }
    all
}

/// With an interval where the oracle has one, and without a value where it has none.
fn gradient_noise(reading: &Value, expected: &Value) -> Vec<Pair> {
    let told = !expected["scale"].is_null();
    assert_eq!(reading["outcome"], if told { "measured" } else { "undefined" }, "{reading}");
    let part = |(ours, theirs): (&str, &str)| (reading["parts"][ours].clone(), expected[theirs].clone());
    let names = [
        ("scale", "scale_biased"),
        ("covariance_trace", "covariance_trace"),
        ("gradient_sq", "gradient_sq"),
        ("gradient_sq_stderr", "gradient_sq_stderr"),
    ];
    let mut all: Vec<Pair> = names.into_iter().map(part).collect();
    if told {
        all.extend(zip(&reading["interval"], &expected["interval"]));
        all.push((reading["value"].clone(), expected["scale"].clone()));
        all.push((reading["stderr"].clone(), expected["stderr"].clone()));
    } else {
        assert!(reading["value"].is_null() && reading["interval"].is_null(), "{reading}");
    }
    all
}

fn of_outputs_and_weights() -> Vec<Form> {
    vec![
        value("loss", Class::Plain, "/outputs/loss"),
        form("perplexity", Class::Plain, |reading, expected| {
            // Each example is a sequence of one token.
            let perplexity = expected.pointer("/outputs/loss").unwrap().as_f64().unwrap().exp();
            vec![(reading["value"].clone(), perplexity.into())]
        }),
        value("accuracy", Class::Plain, "/outputs/accuracy"),
        value("entropy", Class::Plain, "/outputs/predictive_entropy"),
        parts("margin", Class::Margin, MARGIN),
        whole_and_tensors("param_norm", &[("norm", "norm")]),
        whole_and_tensors("param_variance", &[("w", "variance"), ("delta", "delta_variance")]),
        whole_and_tensors("distance", &[("l2", "distance")]),
        parts("distance", Class::Plain, DISTANCE),
    ]
}

fn of_ascents(expected: &Value) -> Vec<Form> {
    let mut all = Vec::new();
    let forms = [
        ("sharpness:alpha=0.05,steps=1", "bassi_stable"),
        ("sharpness:alpha=0.05,steps=3", "bassi_stable_3"),
        ("sharpness_paper:radius=global", "bassi_paper"),
        ("sharpness_paper:radius=sum,projection=tensor", "bassi_per_tensor"),
    ];
    for (request, key) in forms.into_iter().filter(|(_, key)| expected.get(key).is_some()) {
        all.push(draws(request, Class::Difference, key, expected));
    }
    if expected.get("profile").is_some() {
        all.push(form("sharpness_profile:draws=2", Class::Difference, |reading, expected| {
            let rungs = reading["parts"]["rungs"].as_array().unwrap().iter();
            let both = rungs.zip(expected["profile"]["rungs"].as_array().unwrap());
            both.flat_map(|(ours, theirs)| zip(&ours["draws"], &theirs["values"])).collect()
        }));
        let names = &[("alpha", "/flat_radius/alpha"), ("evaluations", "/flat_radius/evaluations")];
        all.push(parts("flat_radius", Class::Difference, names));
        all.push(form("flat_radius", Class::Crossing, |reading, expected| {
            let expected = &expected["flat_radius"];
            let mut all = zip(&reading["draws"], &expected["values"]);
            all.push((reading["stderr"].clone(), expected["stderr"].clone()));
            all.extend(zip(&reading["interval"], &expected["interval"]));
            all
        }));
    }
    let steps = [
        ("sam:scope=global", "/sam"),
        ("asam:eta=0.01,scope=global", "/asam"),
        ("asam:eta=0,scope=all", "/asam_all"),
        ("worst_case:p=l2,adaptive=false,rho=0.1", "/worst_l2/value"),
        ("worst_case:p=l2,adaptive=true,rho=0.1", "/worst_adaptive_l2/value"),
        ("worst_case:p=linf,adaptive=false,rho=0.002", "/worst_linf/value"),
        ("worst_case:p=linf,adaptive=true,rho=0.01", "/worst_adaptive_linf/value"),
    ];
    let known = steps.into_iter().filter(|(_, place)| expected.pointer(place).is_some());
    all.extend(known.map(|(request, place)| value(request, Class::Difference, place)));
    let boxes = [("keskar:eps=0.001", "/keskar_1e-3"), ("keskar:eps=0.0005", "/keskar_5e-4")];
    let known = boxes.into_iter().filter(|(_, place)| expected.pointer(place).is_some());
    all.extend(known.map(|(request, place)| value(request, Class::Optimizer, place)));
    all
}

fn of_perturbations(expected: &Value) -> Vec<Form> {
    let forms = [
        ("average_case:p=l2,adaptive=false,rho=0.1,antithetic=false", "average_l2"),
        ("average_case:p=l2,adaptive=true,rho=0.1,antithetic=false", "average_adaptive_l2"),
        ("average_case:p=linf,adaptive=false,rho=0.002,antithetic=false", "average_linf"),
        ("average_case:p=linf,adaptive=true,rho=0.01,antithetic=false", "average_adaptive_linf"),
        ("average_case:p=l2,adaptive=false,rho=0.1,antithetic=true", "average_l2_antithetic"),
        ("low_pass:sigma=0.01", "low_pass"),
    ];
    let known = forms.into_iter().filter(|(_, key)| expected.get(key).is_some());
    let class = |request: &str| if request.contains("linf") { Class::Slight } else { Class::Difference };
    known.map(|(request, key)| draws(request, class(request), key, expected)).collect()
}

fn of_landscape(expected: &Value) -> Vec<Form> {
    let count = |place: &str| expected.pointer(place).unwrap().as_array().unwrap().len();
    let (plane, line) = (count("/landscape/axis"), count("/landscape/line"));
    vec![
        form(format!("landscape:dims=2,points={plane}"), Class::Plain, |reading, expected| {
            let (found, expected) = (&reading["parts"], &expected["landscape"]);
            let mut all = zip(&flat(&found["grid"]), &flat(&expected["grid"]));
            all.push((found["score"].clone(), expected["score"].clone()));
            all
        }),
        form(format!("landscape:dims=1,points={line}"), Class::Plain, |reading, expected| {
            zip(&reading["parts"]["line"], &expected["landscape"]["line"])
        }),
    ]
}

fn of_curvature(expected: &Value) -> Vec<Form> {
    let mut all = Vec::new();
    if expected.get("hutchinson").is_some() {
        all.push(draws("hessian_trace:method=hutchinson", Class::Curvature, "hutchinson", expected));
        let sketched = format!("hessian_trace:sketch={}", expected["hutch_pp"]["sketch"]);
        all.push(draws(&sketched, Class::Sketched, "hutch_pp", expected));
        let top = "hessian_top:method=power,tol=0.000001";
        all.push(value(top, Class::Curvature, "/power_iteration/value"));
    }
    let both = "hessian_top:method=lanczos,tol=0.000001";
    if expected.get("hessian").is_some() {
        all.push(parts(both, Class::Curvature, ENDS));
    }
    if expected.get("ends").is_some() {
        all.push(parts(both, Class::Curvature, ENDS_ALONE));
    }
    if let Some(slq) = expected.get("slq") {
        let (steps, runs) = (&slq["steps"], slq["runs"].as_array().unwrap().len());
        all.push(form(format!("hessian_density:steps={steps},runs={runs}"), Class::Curvature, density));
    }
    all
}

/// Moments of the density, and the extreme node of each run; those within are told apart too little by rounding.
fn density(reading: &Value, expected: &Value) -> Vec<Pair> {
    let slq = &expected["slq"];
    let mut all = zip(&reading["draws"], &slq["trace"]["values"]);
    all.push((reading["parts"]["frobenius_sq"].clone(), slq["frobenius_sq"]["mean"].clone()));
    let last = |run: &Value| run["nodes"].as_array().unwrap().last().unwrap().clone();
    let runs = reading["parts"]["runs"].as_array().unwrap().iter();
    all.extend(runs.zip(slq["runs"].as_array().unwrap()).map(|(ours, theirs)| (last(ours), last(theirs))));
    all
}

fn norm_bounds(reading: &Value, expected: &Value) -> Vec<Pair> {
    let rows = expected["norm_bounds"].as_object().unwrap().iter();
    let mut all: Vec<Pair> =
        rows.map(|(name, number)| (reading["parts"][name].clone(), number.clone())).collect();
    all.extend(expected.get("path_norm").map(|path| (reading["parts"]["path_norm"].clone(), path.clone())));
    all
}

const MARGIN: &[(&str, &str)] = &[
    ("prob_mean", "/outputs/margin_prob_mean"),
    ("prob_min", "/outputs/margin_prob_min"),
    ("logit_mean", "/outputs/margin_logit_mean"),
    ("logit_min", "/outputs/margin_logit_min"),
    ("logit_p10", "/outputs/margin_logit_p10"),
];

const DISTANCE: &[(&str, &str)] = &[
    ("relative", "/weights/distance_relative"),
    ("sum_frobenius", "/weights/distance_sum_frobenius"),
    ("mean_frobenius", "/weights/distance_mean_frobenius"),
    ("cosine", "/weights/cosine_to_init"),
];

const SPECTRUM: &[(&str, &str)] = &[
    ("spectral", "spectral"),
    ("stable_rank", "stable_rank"),
    ("nuclear", "nuclear"),
    ("log10_norm", "log10_norm"),
    ("log10_spectral", "log10_spectral"),
    ("distance_spectral", "distance_spectral"),
    ("alpha", "alpha"),
    ("alpha_xmin", "alpha_xmin"),
    ("alpha_ks", "alpha_ks"),
    ("alpha_weighted", "alpha_weighted"),
];

const PAC_BAYES: &[(&str, &str)] = &[
    ("sigma", "/pac_sigma/sigma"),
    ("sigma_magnitude", "/pac_sigma_magnitude/sigma"),
    ("init", "/pac_bayes/init"),
    ("orig", "/pac_bayes/orig"),
    ("flatness", "/pac_bayes/flatness"),
    ("mag_init", "/pac_bayes/mag_init"),
    ("mag_orig", "/pac_bayes/mag_orig"),
    ("mag_flatness", "/pac_bayes/mag_flatness"),
];

const NOISE: &[(&str, &str)] =
    &[("scale", "/gradients/noise_scale"), ("covariance_trace", "/gradients/grad_covariance_trace")];

const FISHER: &[(&str, &str)] =
    &[("trace", "/gradients/fisher_trace"), ("empirical", "/gradients/fisher_trace_empirical")];

const ENDS: &[(&str, &str)] = &[("top", "/hessian/top/0"), ("bottom", "/hessian/bottom")];

const ENDS_ALONE: &[(&str, &str)] = &[("top", "/ends/top/0"), ("bottom", "/ends/bottom")];

const CRITICAL_UPDATE: &[(&str, &str)] = &[
    ("lambda", "/critical_update/value"),
    ("eta", "/critical_update/eta"),
    ("forwards", "/critical_update/forwards"),
];

const CRITICAL_GRADIENT: &[(&str, &str)] = &[
    ("lambda", "/critical_gradient/value"),
    ("eta", "/critical_gradient/eta"),
    ("forwards", "/critical_gradient/forwards"),
];
