"""A FastAPI application that adds two numbers of a JSON body."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Numbers(BaseModel):
    a: int
    b: int


@app.post("/sum")
async def add(numbers: Numbers) -> int:
    return numbers.a + numbers.b
