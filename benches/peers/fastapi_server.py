"""FastAPI and onnxruntime, as one would write it in an afternoon: `uvicorn fastapi_server:app --workers CORES`."""

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from model import Model

app = FastAPI()
model = Model()


@app.post("/classify")
async def classify(request: Request):
    return await run_in_threadpool(model.classify, await request.body())
