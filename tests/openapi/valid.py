"""Checks OpenAPI documents with the official schema: python3 valid.py FILE…"""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

for file in sys.argv[1:]:
    with open(file) as text:
        validate(json.load(text), cls=OpenAPIV31SpecValidator)
    print(f"{file} is valid")
