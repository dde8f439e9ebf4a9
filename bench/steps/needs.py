"""What a measurement cannot do without."""
import pathlib
import shutil
import sys


def need(*programs):
    """Ends the script with a sentence where programs are missing: paths, or names to be found on PATH."""
    missing = [str(program) for program in programs if not shutil.which(program)]
    if missing:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: not there: {', '.join(missing)} (launch/setup.sh build installs what "
                 "a build and mpirun need; --build names the folder of a finished build)")
