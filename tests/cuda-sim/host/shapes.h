// Tensors of odd lengths, cut into pieces and rows as the host cuts them; and numbers to fill them with.
//
// Owns: tables of pieces and rows. May not touch: kernels.
#pragma once
#include "guard.h"
#include <cmath>
#include <memory>
#include <string>

typedef uint32_t u32;
typedef uint64_t u64;

/// As the kernels have it.
struct Row {
    u64 offset;
    u32 len, slot, rank, start, columns, row0;
};
static_assert(sizeof(Row) == 32, "as the kernels have it");

struct Slot {
    u32 len, columns, rank, row0;
    u64 offset;
};

constexpr u32 PIECE = 16384;
constexpr unsigned THREADS = 256;

struct Shapes {
    std::vector<Slot> slots;
    std::vector<Row> pieces;
    /// First piece of each slot, and behind the last one.
    std::vector<u32> first;
    u64 total = 0;
    u32 rows = 0;

    unsigned count() const { return unsigned(pieces.size()); }
    unsigned tensors() const { return unsigned(slots.size()); }
};

/// Lengths with their columns (0 for vectors); the last tensors lie first in memory, some with a gap behind them.
inline Shapes cut(const std::vector<std::pair<u32, u32>> &tensors) {
    Shapes all;
    for (const auto &[len, columns] : tensors) all.slots.push_back({len, columns, 0, 0, 0});
    for (size_t i = all.slots.size(); i-- > 0;) {
        all.slots[i].offset = all.total;
        all.total += (all.slots[i].len + 31) / 32 * 32 + (i % 3 == 0 ? 64 : 0);
    }
    for (u32 i = 0; i < all.slots.size(); ++i) {
        Slot &slot = all.slots[i];
        slot.rank = i * 5 + 2, slot.row0 = all.rows;
        all.first.push_back(u32(all.pieces.size()));
        for (u32 start = 0; start < slot.len; start += PIECE) {
            const u32 left = slot.len - start;
            all.pieces.push_back({slot.offset + start, left < PIECE ? left : PIECE, i, slot.rank, start, slot.columns,
                                  slot.row0});
        }
        if (slot.columns) all.rows += slot.len / slot.columns;
    }
    all.first.push_back(u32(all.pieces.size()));
    return all;
}

inline Shapes odd_shapes() {
    return cut({{1, 0},       {3, 1},         {31, 31},      {32, 2},  {33, 3},     {255, 5},     {1023, 33},
                {1024, 1024}, {1025, 41},     {16383, 127},  {16384, 1}, {16385, 0}, {35005, 7001}, {49152, 96},
                {2, 2},       {16384, 16384}, {1024, 1}});
}

/// A table of the rows of all matrices, cut into entries of at most `most` elements; `first` entry of each row.
struct RowTable {
    std::vector<Row> entries;
    std::vector<u32> first;

    RowTable(const Shapes &shapes, u32 most) {
        for (u32 s = 0; s < shapes.slots.size(); ++s) {
            const Slot &slot = shapes.slots[s];
            for (u32 row = 0; slot.columns && row < slot.len / slot.columns; ++row) {
                first.push_back(u32(entries.size()));
                for (u32 at = 0; at < slot.columns; at += most) {
                    const u32 start = row * slot.columns + at, left = slot.columns - at;
                    const u32 len = left < most ? left : most;
                    entries.push_back({slot.offset + start, len, s, slot.rank, start, slot.columns, slot.row0});
                }
            }
        }
        first.push_back(u32(entries.size()));
    }
};

/// Calls `with(slot's index, index in the slot, index in the arena)` for every element.
template <class F> void each_element(const Shapes &shapes, F with) {
    for (u32 s = 0; s < shapes.slots.size(); ++s)
        for (u32 i = 0; i < shapes.slots[s].len; ++i) with(s, i, size_t(shapes.slots[s].offset + i));
}

/// Some numbers between -2 and 2, by no pattern.
inline double some(u64 i, u64 seed) {
    u64 x = (i + 1) * 0x9e3779b97f4a7c15ull + seed * 0xd1342543de82ef95ull;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
    x ^= x >> 32;
    return double(int64_t(x)) / 4611686018427387904.0;
}

template <class T> std::vector<T> numbers(size_t n, u64 seed) {
    std::vector<T> all(n);
    for (size_t i = 0; i < n; ++i) all[i] = T(some(i, seed));
    return all;
}

/// Tensors that lie apart, each between its own guards.
template <class T> struct Apart {
    std::vector<std::unique_ptr<guard::Buffer<T>>> tensors;
    guard::Buffer<T *> bases;

    explicit Apart(const Shapes &shapes) : bases(shapes.slots.size()) {
        for (size_t i = 0; i < shapes.slots.size(); ++i) {
            tensors.push_back(std::make_unique<guard::Buffer<T>>(shapes.slots[i].len));
            bases.out()[i] = tensors[i]->out();
        }
    }
    T *const *at() const { return bases.in(); }
    /// As one vector; zeros in the gaps.
    std::vector<T> flat(const Shapes &shapes) const {
        std::vector<T> all(shapes.total, T(0));
        each_element(shapes, [&](u32 s, u32 i, size_t at) { all[at] = (*tensors[s])[i]; });
        return all;
    }
};

template <class T> const char *suffix() { return std::is_same_v<T, float> ? "f32" : "f64"; }

/// The form of a kernel for a type.
template <class T> const cuda_host::Kernel &kernel(const char *name) {
    return guard::named((std::string("clino_") + name + "_" + suffix<T>()).c_str());
}
