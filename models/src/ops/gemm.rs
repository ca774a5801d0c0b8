//! Products of matrices in slices, by the gemm crate, whose call is `unsafe`. The number of threads does not change a
//! bit of the result: gemm splits the output, never a sum.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A matrix over the values of a slice: entry (i, j) is at `i · down + j · across`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    down: usize,
    across: usize,
}

impl<'a> Matrix<'a> {
    /// Takes all values, in rows of `columns`.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        Self::strided(values, values.len() / columns.max(1), columns, columns)
    }

    /// Takes `rows` rows of `columns` values, `down` apart.
    pub fn strided(values: &'a [f32], rows: usize, columns: usize, down: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * down + columns <= values.len(), "a matrix beyond its values");
        Self { values, rows, columns, down, across: 1 }
    }

    /// Returns the transpose, without copying.
    pub fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, down: self.across, across: self.down, ..self }
    }
}

/// Returns A B in new memory, computed on all threads.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let count = a.rows * b.columns;
    if a.columns == 0 {
        return vec![0.0; count];
    }
    let mut c = Vec::with_capacity(count);
    // SAFETY: `c` has room for `count` values, and gemm writes each entry of a product of at least one summand.
    unsafe {
        call(c.as_mut_ptr(), a, b, Call { down: b.columns, add: false, scale: 1.0, threads: threads() });
        c.set_len(count);
    }
    c
}

/// Adds A B to `c` on all threads; rows of `c` are as long as those of B.
pub(super) fn add_product(c: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(c.len(), a.rows * b.columns, "a product of another size");
    // SAFETY: all entries lie in `c`.
    unsafe { call(c.as_mut_ptr(), a, b, Call { down: b.columns, add: true, scale: 1.0, threads: threads() }) }
}

/// Writes `scale` · A B to `c` on this thread; rows of `c` are `down` apart.
pub(super) fn write_product(c: &mut [f32], down: usize, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    if a.rows == 0 || b.columns == 0 {
        return;
    }
    assert!(a.columns > 0 && down >= b.columns && (a.rows - 1) * down + b.columns <= c.len(), "a product too large");
    // SAFETY: all entries lie in `c` and apart.
    unsafe { call(c.as_mut_ptr(), a, b, Call { down, add: false, scale, threads: Parallelism::None }) }
}

fn threads() -> Parallelism {
    match rayon::current_num_threads() {
        1 => Parallelism::None,
        many => Parallelism::Rayon(many),
    }
}

/// Options of [`call`]: how C is written.
struct Call {
    /// Values from one row of C to the next.
    down: usize,
    /// Adds to the old values of C instead of replacing them.
    add: bool,
    /// Factor by which A B is multiplied.
    scale: f32,
    threads: Parallelism,
}

/// Writes `scale` · A B to C, or adds it.
///
/// # Safety
/// Entry (i, j) of C, at `i · down + j`, must be writable, and with `add` readable, for all rows of A and columns of B.
unsafe fn call(c: *mut f32, a: Matrix<'_>, b: Matrix<'_>, Call { down, add, scale, threads }: Call) {
    assert_eq!(a.columns, b.rows, "matrices of other sizes");
    let stride = |of: usize| of as isize;
    // SAFETY: the caller vouches for C; a `Matrix` lies within its slice.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            c,
            1,
            stride(down),
            add,
            a.values.as_ptr(),
            stride(a.across),
            stride(a.down),
            b.values.as_ptr(),
            stride(b.across),
            stride(b.down),
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 31 + seed * 17) % 23) as f32 - 11.0).collect()
    }

    fn naive(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
        let at = |m: Matrix<'_>, i: usize, j: usize| m.values[i * m.down + j * m.across];
        let entry = |i, j| (0..a.columns).map(|k| at(a, i, k) * at(b, k, j)).sum();
        (0..a.rows).flat_map(|i| (0..b.columns).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).collect()
    }

    /// Whole numbers: sums are exact in any order.
    #[test]
    fn products_of_views_equal_the_definition() {
        for (m, n, k) in [(1, 1, 1), (2, 3, 5), (17, 33, 9), (70, 41, 65), (3, 4, 0), (0, 4, 2), (5, 0, 2)] {
            let a = values(m * k, 1);
            let b = values(k * n, 2);
            let turned = values(n * k, 3);
            let a = Matrix::strided(&a, m, k, k);
            let b = Matrix::strided(&b, k, n, n);
            let turned = Matrix::strided(&turned, n, k, k).t();
            assert_eq!(product(a, b), naive(a, b), "{m} {n} {k}");
            assert_eq!(product(a, turned), naive(a, turned), "{m} {n} {k}");
            let mut sum = values(m * n, 4);
            let expected: Vec<f32> = sum.iter().zip(naive(a, b)).map(|(c, ab)| c + ab).collect();
            add_product(&mut sum, a, b);
            assert_eq!(sum, expected);
        }
        let a = values(12, 1);
        let b = values(20, 2);
        let a = Matrix::strided(&a, 2, 3, 5);
        let b = Matrix::strided(&b, 3, 4, 6);
        let mut c = vec![9.0; 12];
        write_product(&mut c, 7, 0.5, a, b);
        let expected = naive(a, b);
        for (i, c) in c.iter().enumerate() {
            let inside = i % 7 < 4;
            assert_eq!(*c, if inside { 0.5 * expected[i / 7 * 4 + i % 7] } else { 9.0 });
        }
    }

    #[test]
    #[should_panic(expected = "beyond its values")]
    fn a_matrix_beyond_its_values_is_refused() {
        Matrix::strided(&[0.0; 11], 3, 4, 4);
    }
}
