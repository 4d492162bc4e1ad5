"""Our scan beside FAISS and usearch in one run: synthetic pictures of 32 vectors with a real index's statistics (the
recipe is in search_bench.cpp), scored by their best vector. In the peers each vector is a row, and a picture's score is
its best row's: 320 rows have ten pictures at least. In turn: our pruned scan, each query alone on two threads; the
exact scans of both (FAISS's IndexFlatIP, usearch's exact=True), all queries at once on two threads; their HNSW graphs
(32 links, 40 while building), with as many rows searched as give 0.95 of the ten best pictures; and usearch after every
fifth picture has been removed (FAISS's HNSW removes nothing). One JSON line. The peers need faiss-cpu 1.15 and usearch
2.26, which are not among the project's own packages: --python names an interpreter that has them."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
Q, E, TOP = 32, 256, 10


def best_pictures(rows):
    """The ten pictures of the first rows of each query, best first."""
    return [list(dict.fromkeys(r // Q for r in some if r >= 0))[:TOP] for some in rows.tolist()]


def recall(found, truth):
    return sum(len(set(a) & set(b)) for a, b in zip(found, truth)) / (TOP * len(truth))


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def until_good(search, truth):
    """Rows searched for, milliseconds a query and recall: the first of growing numbers with 0.95, or the last."""
    for rows in (40, 80, 160, 320, 640, 1280, 2560):
        found, seconds = timed(lambda: search(rows))
        share = recall(best_pictures(found), truth)
        if share >= 0.95:
            break
    return {"rows": rows, "ms": 1000 * seconds / len(truth), "recall": share}


def faiss_figures(vectors, queries):
    import faiss

    faiss.omp_set_num_threads(2)
    flat = faiss.IndexFlatIP(E)
    flat.add(vectors)
    (_, rows), seconds = timed(lambda: flat.search(queries, TOP * Q))
    truth = best_pictures(rows)
    del flat
    graph = faiss.IndexHNSWFlat(E, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 40
    _, build = timed(lambda: graph.add(vectors))

    def search(count):
        graph.hnsw.efSearch = count
        return graph.search(queries, count)[1]

    return truth, {"exact_ms": 1000 * seconds / len(queries), "build_seconds": build,
                   "hnsw": until_good(search, truth)}


def usearch_figures(vectors, queries, truth):
    import numpy as np
    from usearch.index import Index, search as exact_search

    found, seconds = timed(lambda: exact_search(vectors, queries, TOP * Q, "ip", exact=True, threads=2))
    figures = {"exact_ms": 1000 * seconds / len(queries),
               "exact_recall": recall(best_pictures(found.keys.astype(np.int64)), truth)}
    index = Index(ndim=E, metric="ip", dtype="f32", connectivity=32, expansion_add=40)
    _, figures["build_seconds"] = timed(lambda: index.add(np.arange(len(vectors)), vectors, threads=2))

    def search(count):
        index.expansion_search = count
        return index.search(queries, count, threads=2).keys.astype(np.int64)

    figures["hnsw"] = until_good(search, truth)
    removed = np.arange(len(vectors)).reshape(-1, Q)[::5].reshape(-1)
    _, figures["remove_seconds"] = timed(lambda: index.remove(removed, threads=2))
    left = np.delete(vectors.reshape(-1, Q, E), np.s_[::5], axis=0).reshape(-1, E)
    keys = np.delete(np.arange(len(vectors)).reshape(-1, Q), np.s_[::5], axis=0).reshape(-1)
    exact = exact_search(left, queries, TOP * Q, "ip", exact=True, threads=2)
    after = recall(best_pictures(search(figures["hnsw"]["rows"])), best_pictures(keys[exact.keys.astype(np.int64)]))
    return {**figures, "recall_after_removals": after}


def compare(folder):
    import numpy as np

    vectors = np.fromfile(folder / "vectors.f32", np.float32).reshape(-1, E)
    queries = np.fromfile(folder / "queries.f32", np.float32).reshape(-1, E)
    ours = np.fromfile(folder / "hits.i32", np.int32).reshape(-1, TOP).tolist()
    truth, of_faiss = faiss_figures(vectors, queries)
    of_usearch = usearch_figures(vectors, queries, truth)
    return {"recall_of_f32": recall(ours, truth), "faiss": of_faiss, "usearch": of_usearch}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=pathlib.Path, help="what `blip2 embed` writes of pictures and texts")
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--python", default=sys.executable)
    args = parser.parse_args()
    if args.vectors.is_dir():  # the second half, in the interpreter with the peers
        print(json.dumps(compare(args.vectors)))
        return
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(args.build) / "bench" / "search_bench"
        ours = json.loads(subprocess.check_output([program, args.vectors, str(args.pictures), str(args.queries), folder]))
        peers = json.loads(subprocess.check_output([args.python, __file__, folder]))
    print(json.dumps({"ours": ours, **peers, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
