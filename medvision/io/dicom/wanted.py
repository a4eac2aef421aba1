"""The elements that medvision reads from DICOM images; all others are jumped over."""

WANTED = """
SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate Modality Manufacturer
SoftwareVersions SeriesDescription ProtocolName SequenceName StudyInstanceUID SeriesInstanceUID
SeriesNumber InstanceNumber PatientID IssuerOfPatientID PatientPosition
ComplexImageComponent EchoTime EchoNumbers RepetitionTime FlipAngle ContrastBolusAgent
SliceThickness SpacingBetweenSlices
ImagePositionPatient ImageOrientationPatient PatientOrientation FrameOfReferenceUID ImageComments
InPlanePhaseEncodingDirection TriggerTime FrameReferenceTime ImageIndex
PixelSpacing ImagerPixelSpacing GridFrameOffsetVector
DetectorInformationSequence NumberOfSlices SliceVector ImagesInAcquisition
Rows Columns NumberOfFrames SamplesPerPixel PhotometricInterpretation PlanarConfiguration
BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit
WindowCenter WindowWidth RescaleSlope RescaleIntercept RescaleType ModalityLUTSequence
LUTDescriptor LUTData
DoseGridScaling DoseUnits
ExtendedOffsetTable ExtendedOffsetTableLengths
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionIndexSequence
DimensionIndexPointer PixelMeasuresSequence PlanePositionSequence PlaneOrientationSequence
FrameContentSequence DimensionIndexValues TemporalPositionIndex TemporalPositionIdentifier
FrameAcquisitionNumber StackID InStackPositionNumber FrameType
PixelValueTransformationSequence RealWorldValueMappingSequence RealWorldValueSlope
RealWorldValueIntercept RealWorldValueFirstValueMapped RealWorldValueLastValueMapped
MeasurementUnitsCodeSequence CodeValue
MRImageFrameTypeSequence CTImageFrameTypeSequence PETFrameTypeSequence MREchoSequence
EffectiveEchoTime MRTimingAndRelatedParametersSequence MRDiffusionSequence
DiffusionBValue DiffusionDirectionality DiffusionGradientDirectionSequence
DiffusionGradientOrientation
Units SUVType CorrectedImage DecayCorrection SeriesDate SeriesTime AcquisitionDate AcquisitionTime
TemporalPositionTimeOffset NominalCardiacTriggerDelayTime CardiacSynchronizationSequence
PatientWeight RadiopharmaceuticalInformationSequence RadiopharmaceuticalStartTime
RadiopharmaceuticalStartDateTime RadionuclideTotalDose RadionuclideHalfLife
""".split()  # noqa: SIM905

# Private elements, by the documents of their makers, and how their bytes are to be read.
PRIVATE_VRS = {
    0x00090010: "LO",  # creators of the groups that follow
    0x00190010: "LO",
    0x00290010: "LO",
    0x0019100A: "US",  # Siemens: tiles of a mosaic
    0x0019100C: "IS",  # Siemens: b-value
    0x00191029: "FD",  # Siemens: when each tile of a mosaic was taken
    0x0019100E: "FD",  # Siemens: direction of the diffusion gradient
    0x00291010: "OB",  # Siemens: CSA header of the image
    0x001910BB: "DS",  # GE: direction of the gradient along frequency, phase, slice
    0x001910BC: "DS",
    0x001910BD: "DS",
    0x0043102F: "SS",  # GE: 0 magnitude, 1 phase, 2 real, 3 imaginary
    0x00431039: "IS",  # GE: b-value, first of four
    0x0019109C: "LO",  # GE: the sequence, and its name inside
    0x0019109E: "LO",
    0x0021104F: "SS",  # GE: places in the field
    0x001910A2: "SL",  # GE: number of the run
    0x20011003: "FL",  # Philips: b-value
    0x20011008: "IS",  # Philips: phase of the heart, or of ASL
    0x2001100A: "IS",  # Philips: number of the slice
    0x20051063: "SL",  # Philips: number of the volume over time
    0x20051412: "IS",  # Philips: number of the b-value
    0x20051413: "IS",  # Philips: number of the gradient's direction
    0x20051429: "CS",  # Philips: LABEL or CONTROL
    0x20051596: "IS",  # Philips: number of the volume of diffusion
    0x200510B0: "FL",  # Philips: direction of the gradient, x, y, z
    0x200510B1: "FL",
    0x200510B2: "FL",
    0x2005100E: "FL",  # Philips: scale slope
    0x2005140F: "SQ",  # Philips: more facts of a frame
    0x00651009: "FD",  # United Imaging: b-value
    0x00651037: "FD",  # United Imaging: direction of the gradient
    0x00651050: "DS",  # United Imaging: slices of a grid
    0x00651051: "SQ",  # United Imaging: the slices of a grid
    0x0009100D: "DT",  # GE PET: when the scan began
    0x70530010: "LO",
    0x70531000: "DS",  # Philips PET: SUV per stored value
    0x70531009: "DS",  # Philips PET: Bq/ml per stored value
}
