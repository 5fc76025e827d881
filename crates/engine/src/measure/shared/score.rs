//! Scores of a loss surface: how steep the rays from its middle to its border are.
//!
//! Owns: rays, strides and slopes. May not touch: where the losses come from.

/// Share of the points, in per cent, that strides may take up.
const CENTER_PERCENT: usize = 30;

/// What a step of one point along the directions measures in parameter space: squared lengths and the product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepMetric {
    /// Along the first direction.
    pub first: f64,
    /// Squared length of a step along the second direction.
    pub second: f64,
    /// Scalar product of the steps along both directions.
    pub mixed: f64,
}

impl StepMetric {
    fn length(&self, [x, y]: [isize; 2]) -> f64 {
        let x = x as f64;
        let y = y as f64;
        (x * x * self.first + y * y * self.second + 2.0 * x * y * self.mixed).max(0.0).sqrt()
    }
}

const AROUND: [[isize; 2]; 8] = [[-1, 1], [0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0]];
const ALONG: [[isize; 2]; 2] = [[1, 0], [-1, 0]];

/// landscapelaser's score of a square of `points` x `points` losses, or of a line of `points`, and the mean slope per
/// length in parameter space.
pub fn of(losses: &[f64], points: usize, metric: StepMetric) -> [f64; 2] {
    let ways: &[[isize; 2]] = if losses.len() == points { &ALONG } else { &AROUND };
    let strides = (CENTER_PERCENT * points / 100 / 2).max(1) as isize;
    let middle = (points / 2) as isize;
    let cells = [[0, 0]].iter().chain(ways).map(|[x, y]| [middle + x, middle + y]);
    let mut score = 0.0;
    let mut distance = 0.0;
    let mut rays = 0.0;
    for cell in cells.clone() {
        let cell = if losses.len() == points { [cell[0], 0] } else { cell };
        for stride in 1..=strides {
            for way in ways {
                let step = way.map(|w| w * stride);
                let slope = slope(&ray(losses, points, cell, step)).abs();
                score += slope;
                distance += super::climb::over(slope, metric.length(step));
                rays += 1.0;
            }
        }
    }
    [score / ways.len() as f64 / cells.count() as f64, distance / rays]
}

/// Losses from a cell to the border.
fn ray(losses: &[f64], points: usize, from: [isize; 2], step: [isize; 2]) -> Vec<f64> {
    let n = points as isize;
    let wide = if losses.len() == points { 1 } else { n };
    let mut at = from;
    let mut found = Vec::new();
    while (0..n).contains(&at[0]) && (0..wide).contains(&at[1]) {
        found.push(losses[(at[0] * wide + at[1]) as usize]);
        at = [at[0] + step[0], at[1] + step[1]];
    }
    found
}

/// Of a straight line through the numbers, by least squares; 0 for a single one.
fn slope(z: &[f64]) -> f64 {
    let middle = (z.len() as f64 - 1.0) / 2.0;
    let mut product = 0.0;
    let mut square = 0.0;
    for (i, z) in z.iter().enumerate() {
        let t = i as f64 - middle;
        product += t * z;
        square += t * t;
    }
    super::climb::over(product, square)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bowl(points: usize) -> Vec<f64> {
        let at = |i: usize| (i as f64 / (points / 2) as f64 - 1.0).powi(2);
        (0..points * points).map(|i| at(i / points) + at(i % points)).collect()
    }

    #[test]
    fn the_bowl_scores_as_published_and_the_distance_does_not_grow() {
        let of = |points: usize| {
            let spacing = 2.0 / (points - 1) as f64;
            of(
                &bowl(points),
                points,
                StepMetric { first: spacing * spacing, second: spacing * spacing, mixed: 0.0 },
            )
        };
        for (points, score) in [(11, 0.28), (21, 0.82), (41, 1.43)] {
            assert!((of(points)[0] - score).abs() < 0.005, "{points}: {}", of(points)[0]);
        }
        assert!((of(21)[1] - of(41)[1]).abs() < 0.1 * of(41)[1], "{} {}", of(21)[1], of(41)[1]);
    }

    #[test]
    fn a_slope_has_its_length() {
        let line: Vec<f64> = (0..11).map(|i| 3.0 * f64::from(i)).collect();
        let [score, distance] = of(&line, 11, StepMetric { first: 4.0, second: 0.0, mixed: 0.0 });
        assert!((score - 3.0).abs() < 1e-12 && (distance - 1.5).abs() < 1e-12);
    }
}
