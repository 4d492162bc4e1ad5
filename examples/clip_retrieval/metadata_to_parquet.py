"""Makes the Parquet files that clip-retrieval reads of what `blip2 index INDEX --export FOLDER` wrote.

    pip install pyarrow
    python metadata_to_parquet.py FOLDER
"""

import pathlib
import sys

import pyarrow.json
import pyarrow.parquet


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python metadata_to_parquet.py FOLDER")
    files = sorted(pathlib.Path(sys.argv[1], "metadata").glob("metadata_*.jsonl"))
    if not files:
        sys.exit(f"{sys.argv[1]}: there are no metadata/metadata_*.jsonl")
    options = pyarrow.json.ReadOptions(block_size=64 << 20)  # the longest line
    for file in files:
        table = pyarrow.json.read_json(file, read_options=options)
        pyarrow.parquet.write_table(table, file.with_suffix(".parquet"))


if __name__ == "__main__":
    main()
