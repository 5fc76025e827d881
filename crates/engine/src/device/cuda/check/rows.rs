//! Directions normalized by filter.
//!
//! Owns: their comparisons. May not touch: other vectors.

use super::{Bed, SUMS};
use crate::device::cuda::gpu::Element;
use crate::device::cuda::rows::Rows;
use crate::device::filter;
use crate::device::noise::{Draw, Purpose};
use clino_domain::Fault;

pub fn check<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let draws = [0, 1].map(|index| Draw { seed: super::SEED, index, purpose: Purpose::Direction });
    let weights = filter::row_norms(&bed.slots, &bed.host[0]);
    let here = draws.map(|draw| filter::scales(&weights, &filter::noise_row_norms::<T>(&bed.slots, draw)));
    let mut rows = Rows::new(&bed.arena, &bed.there[0])?;
    let there = [rows.scales(draws[0])?, rows.scales(draws[1])?];
    for (here, there) in here.iter().zip(&there) {
        let found = bed.gpu.download(&**there)?;
        bed.numbers("row_scales", &found, &here.concat(), SUMS);
    }
    // From here on with the device's own rows, so that elements can be compared bit by bit.
    let own = |flat: Vec<f64>| {
        let mut flat = flat.into_iter();
        here[0].iter().map(|rows| flat.by_ref().take(rows.len()).collect()).collect::<Vec<Vec<f64>>>()
    };
    let own = [own(bed.gpu.download(&*there[0])?), own(bed.gpu.download(&*there[1])?)];
    let mut wanted = bed.zeros();
    let mut found = bed.arena.vector()?;
    for i in 0..2 {
        let coefficient = [0.5, -0.25][i];
        filter::add_direction(&bed.slots, &mut wanted, draws[i], &own[i], coefficient);
        bed.arena.add_direction(&mut found, draws[i], &there[i], coefficient)?;
    }
    bed.elements("add_direction", &found, &wanted)?;
    let place = bed.arena.vector()?;
    let bases = bed.bases(&place)?;
    let axes = [Some((&*there[0], 0, 0.5)), Some((&*there[1], 1, -0.25))];
    bed.arena.plane(&bases, &bed.there[0], super::SEED, axes)?;
    let sum = |(w, u): (&T, &T)| T::of(w.wide() + u.wide());
    let wanted: Vec<T> = bed.host[0].iter().zip(&wanted).map(sum).collect();
    bed.elements("plane", &place, &wanted)
}
