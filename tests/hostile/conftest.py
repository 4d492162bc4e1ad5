import importlib.util
import pathlib
import sys

# The program's fixtures are those of the integration tests.
_path = pathlib.Path(__file__).resolve().parents[1] / "integration" / "conftest.py"
sys.path.insert(0, str(_path.parent))
_spec = importlib.util.spec_from_file_location("integration_fixtures", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
init, pictures, program, run, run_json = (
    getattr(_module, name) for name in ("real_init", "pictures", "program", "run", "run_json"))
